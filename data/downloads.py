"""What `python -m data.prepare SET --download` fetches: official addresses, published checksums, sizes and licences.

A checksum is one that the publisher or a widely used reader of the file gives: Caltech's record for CUB, torchaudio's
source for LJSpeech, COCO's own storage for its archives; torchvision's and pytorch-fid's file names carry the first
eight digits of the SHA-256. Where none is published it is empty: then the SHA-256 that was seen is kept beside the
file and checked from then on.
"""

from typing import NamedTuple


class Download(NamedTuple):
    url: str
    bytes: int  # about; for the disk space that is needed
    checksum: str  # "md5:...", "sha256:..." in hexadecimal, in full or its first digits; or ""
    makes: (
        str  # what is there once it is unpacked, in the set's folder; the file itself where it is no archive
    )
    licence: str


CUB = "images for non-commercial research and education only"
COCO = "annotations CC BY 4.0; the images are under the terms of Flickr"
IMAGENET = "weights learnt from ImageNet; BSD-3-Clause code"
PYTORCH = "https://download.pytorch.org/models"
FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"

DOWNLOADS: dict[str, list[Download]] = {
    "cub": [
        Download(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            1_150_585_339,
            "md5:97eceeb196236b17998738112f37df78",
            "CUB_200_2011",
            CUB,
        ),
    ],
    "ljspeech": [
        Download(
            "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            2_748_572_632,
            "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
            "LJSpeech-1.1",
            "public domain",
        ),
    ],
    "coco": [
        Download(
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
            252_907_541,
            "md5:f4bbac642086de4f52a3fdda2de5fa2c",
            "annotations",
            COCO,
        ),
        Download(
            "http://images.cocodataset.org/zips/val2017.zip",
            815_585_330,
            "md5:442b8da7639aecaf257c1dceb8ba8c80",
            "val2017",
            COCO,
        ),
        Download(
            "http://images.cocodataset.org/zips/train2017.zip",
            19_336_861_798,
            "md5:cced6f7f71b7629ddf16f17bbcfab6b2",
            "train2017",
            COCO,
        ),
    ],
    "networks": [
        Download(f"{PYTORCH}/{name}", megabytes * 10**6, f"sha256:{name.split('-')[-1][:8]}", name, IMAGENET)
        for name, megabytes in (
            ("mobilenet_v2-b0353104.pth", 15),
            ("squeezenet1_1-b8a52dc0.pth", 5),
            ("inception_v3_google-0cc3c7bd.pth", 109),
        )
    ]
    + [
        Download(
            f"{FID}/pt_inception-2015-12-05-6726825d.pth",
            96 * 10**6,
            "sha256:6726825d",
            "pt_inception-2015-12-05-6726825d.pth",
            "weights of TensorFlow's Inception-v3, Apache-2.0",
        )
    ],
}

# what has no plain address, for the line that says what is still missing
BY_HAND = {
    "cub": "the captions: take text/ and, for the usual split, train/ and test/ from the preprocessed birds that "
    "https://github.com/taoxugit/AttnGAN links to",
}
