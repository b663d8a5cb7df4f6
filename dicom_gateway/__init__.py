"""DICOM in and out: receive, store, assemble, decode, encode, deliver."""
