# ruff: noqa: E501  a word and its translation stay on one line
"""The words of the upload page in Chinese; see `text`."""

from __future__ import annotations

ZH_UPLOAD = {
    "Upload": "上传",
    "Studies from a patient CD or a folder, as if a peer had sent them.": "上传患者光盘或文件夹中的检查，视同由节点发送。",
    "Counts as sent by": "视同来源节点",
    "Files or a ZIP archive": "文件或 ZIP 压缩包",
    "A folder, or the whole CD": "文件夹或整张光盘",
    "Files that are not DICOM are left out. Nothing is changed in the images.": "非 DICOM 文件将被跳过，图像内容不作任何改动。",
    "Progress": "进度",
    "The upload broke off. What was whole is stored; upload the rest again.": "上传中断。已完整接收的文件已保存，请重新上传其余文件。",
    "There is no peer that an upload could count for. Add one first.": "没有可作为来源的节点，请先添加。",
    "Uploaded": "上传结果",
    "Upload more": "继续上传",
    "What became of the files": "文件处理结果",
    "Files": "文件数",
    "stored": "已保存",
    "here already, the same": "已存在且相同",
    "differ from what is here, kept aside": "与已有内容不同，已另存",
    "directory of a CD, left out": "光盘目录，已跳过",
    "not DICOM, left out": "非 DICOM，已跳过",
    "Studies": "检查",
    "The SOP class is not one of those that are stored here.": "该 SOP 类不在接收范围内。",
    "The transfer syntax of a file is not one of those that are stored here.": "该传输语法不在接收范围内。",
    "The instance is larger than this server receives.": "该实例超过本服务器接收的大小上限。",
    "Disk or database cannot take the instance now; the peer may send it again later.": "磁盘或数据库暂时无法接收，请稍后再传。",
    "The head of the data set cannot be read up to the Series Instance UID.": "数据集开头无法读取。",
    "This peer may not send objects of this modality or SOP class.": "该节点不得发送此类型的对象。",
    "A ZIP archive, or a file in it, is damaged, encrypted, or compressed in another way than by deflate.": "ZIP 压缩包或其中的文件已损坏、被加密或压缩方式不受支持。",
    "A ZIP archive holds more files or bytes than are taken, or a file in it is packed suspiciously tight.": "ZIP 压缩包内容过多或压缩比异常。",
}
