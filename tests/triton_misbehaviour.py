"""Runs in Triton's python backend in place of a model, and does what the first voxel of its input says."""

import time

import numpy as np

ECHOES_FROM = 100
"""A first voxel of this or more comes back as the scores."""
NAN, WRONG_SHAPE, NO_OUTPUT, RAISES, SLOW, VERY_SLOW = 1, 2, 3, 4, 5, 6
SLOW_S, VERY_SLOW_S = 0.4, 1.5


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        import triton_python_backend_utils as pb_utils

        order = int(pb_utils.get_input_tensor_by_name(request, "hounsfield").as_numpy()[0, 0, 0, 0])
        outputs = {
            "scores": np.full((1, 56), order, np.float32),
            "centers": np.zeros((1, 56, 3), np.float32),
            "diameters": np.zeros((1, 56), np.float32),
        }
        if order == NAN:
            outputs["scores"][0, 7] = np.nan
        elif order == WRONG_SHAPE:
            outputs["centers"] = np.zeros((1, 255, 3), np.float32)
        elif order == NO_OUTPUT:
            del outputs["diameters"]
        elif order == RAISES:
            raise RuntimeError("it does not work")
        elif order == SLOW:
            time.sleep(SLOW_S)
        elif order == VERY_SLOW:
            time.sleep(VERY_SLOW_S)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in outputs.items()])
