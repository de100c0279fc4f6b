"""`prepare` on real files with damaged ones among them: the valid converted, the bad listed, nothing else; its memory.

python .ci/real_prepare.py ROOT     # ROOT/data/ham10000, ROOT/data/isic-archive-fullres
"""

import io
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import melanomafusion as mf

MEMORY = 1000  # MB, parent and workers together
SECONDS = 90


def encoded(picture, kind="JPEG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def damaged_files(path):
    """Ten files made of one real image: name → (bytes, whether it can be used)."""
    whole = path.read_bytes()
    half = len(whole) // 2
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((600, 600))
    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    alpha = picture.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(picture.size))
    jpeg = encoded(picture, quality=90)
    height = jpeg.index(b"\xff\xc0") + 5
    return {
        "truncated.jpg": (whole[:half], False),
        "zeroed.jpg": (whole[:half] + bytes(len(whole) - half), False),
        "zeros.jpg": (bytes(len(whole)), False),
        "text.jpg": (b"image_name,target\nISIC_0000000,0\n", False),
        "gif.jpg": (encoded(picture, "GIF"), False),
        "cmyk.jpg": (encoded(picture.convert("CMYK")), False),
        "sixteen_bits.png": (encoded(Image.fromarray(grey), "PNG"), False),
        "grey.jpg": (encoded(picture.convert("L")), True),
        "alpha.png": (encoded(alpha, "PNG"), False),
        "fifty_megapixels.jpg": (jpeg[:height] + struct.pack(">HH", 7000, 7200) + jpeg[height + 4 :], False),
    }


def with_damaged(data, folder):
    """The data set and ten records more, whose files lie in `folder`; and those that cannot be used."""
    files = damaged_files(Path(data.frame["path"][0]))
    folder.mkdir()
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    more = data.frame.head(len(files)).assign(
        image_name=[Path(name).stem for name in files], path=[str(folder / name) for name in files]
    )
    spread = pd.concat([data.frame, more], ignore_index=True).sample(frac=1, random_state=0)
    return mf.Dataset(spread), {Path(name).stem for name, (_, sound) in files.items() if not sound}


class Memory(threading.Thread):
    """Peak of the resident memory of this process and its children, in MB, looked at twenty times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.own, self.done = 0.0, 0.0, threading.Event()

    def run(self):
        while not self.done.wait(0.05):
            sizes = [resident(process) for process in ["self", *children()]]
            self.peak, self.own = max(self.peak, sum(sizes)), max(self.own, sizes[0])


def children():
    """Ids of the processes that this one started, from any thread."""
    return [child for path in Path("/proc/self/task").glob("*/children") for child in read(path).split()]


def resident(process):
    """Resident memory in MB; pages that several processes share are counted in each."""
    lines = [line for line in read(Path(f"/proc/{process}/status")).splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) / 1000 if lines else 0.0


def read(path):
    try:
        return path.read_text()
    except OSError:  # the process has ended meanwhile
        return ""


def check(what, data, size, place):
    """Prepare with damaged files among the records; everything is accounted for."""
    count = len(data)
    data, bad = with_damaged(data, place / "damaged")
    memory = Memory()
    memory.start()
    began = time.monotonic()
    made = mf.prepare(data, place / "out", image_size=size)
    seconds = time.monotonic() - began
    memory.done.set()
    memory.join()
    assert {entry["image_name"] for entry in made.refused} == bad, [entry["image_name"] for entry in made.refused]
    assert all(Path(entry["path"]).name in entry["reason"] for entry in made.refused)
    loaded = mf.load_prepared(place / "out")
    wanted = [name for name in data.image_names if name not in bad]
    assert list(loaded.image_names) == wanted
    assert len(loaded) == made.records == count + 1, "the ten files hold one that can be used"
    names = {"preparation.json", "prepared.json", *(shard["name"] for shard in made.shards)}
    assert {path.name for path in (place / "out").iterdir()} == names
    rows = np.random.default_rng(0).choice(len(loaded), min(len(loaded), 50), replace=False)
    spec = mf.image_spec(loaded, size)
    raw = data.frame.set_index("image_name")["path"]
    for name, path in loaded.frame.loc[rows, ["image_name", "path"]].itertuples(index=False):
        np.testing.assert_array_equal(spec.load(path), spec.load(raw[name]))
    began = time.monotonic()
    mf.prepare(data, place / "out", image_size=size)
    again = time.monotonic() - began
    print(f"{what} → {size}: {made.records:,} converted, {len(made.refused)} of 10 damaged files refused, ", end="")
    print(f"{seconds:.1f} s ({len(data) / seconds:,.0f} images/s), a second run {again:.2f} s, ", end="")
    print(f"{made.bytes / 1e6:,.0f} MB, peak memory {memory.peak:,.0f} MB of it {memory.own:,.0f} MB here", flush=True)
    for entry in made.refused:
        print(f"  {entry['image_name']}: {entry['reason'].removeprefix(entry['path'])[2:]}")
    assert memory.peak < MEMORY, f"{memory.peak:,.0f} MB"


def main():
    """Both data sets; a missing folder is a failure."""
    root = Path(sys.argv[1]) / "data"
    ham, full = root / "ham10000", root / "isic-archive-fullres"
    for path in (ham, full):
        if not path.exists():
            raise SystemExit(f"{path} is missing: the checks on real data cannot be run")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "ham").mkdir()
        data = mf.load_ham10000(ham)
        assert len(data) == 8026
        check("HAM10000", data, 128, Path(place) / "ham")
        (Path(place) / "full").mkdir()
        # Its diagnoses have words of their own; the images are what is looked at.
        table = pd.read_csv(full / "metadata.csv", usecols=["name", "sex", "age_approx"])
        table.to_csv(Path(place) / "full.csv", index=False)
        data = mf.load_csv(
            Path(place) / "full.csv", image_folder=full, columns={"image_name": "name"}, has_target=False
        )
        assert len(data) == 24
        check("full resolution", data, 512, Path(place) / "full")
    assert time.monotonic() - began < SECONDS, f"{time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    main()
