"""Video files in and out: everything besides the picture is kept; damage is reported, and the rest is kept."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from video_files import make_video, pictures, remux, sound

from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.settings import Settings
from expcorr_core.video import colour as video_colour
from expcorr_core.video import files as video
from expcorr_core.video import pyav as video_av
from expcorr_core.video.files import Encoding, Summary, VideoError, correct_video
from expcorr_core.video.reader import reading
from expcorr_core.video.sequence import SequenceCorrector, Smoothing
from expcorr_core.video.writer import Writer

FRAMES = 24
FAST = Smoothing(8, 8)
UNCHANGED = Settings(strength=0)  # for what is of the file, not of the picture


@pytest.fixture(scope="session")
def frames() -> list[NDArray[np.uint8]]:
    """A dark pan, ``(112, 176, 3)``."""
    y, x = np.mgrid[0:112, 0:300]
    still = np.stack((60 + 40 * np.sin(x / 23), 20 + 0.5 * y, 70 - x / 5 + 10 * ((x // 16 + y // 16) % 2)), -1)
    return [still[:, 3 * index : 3 * index + 176].clip(0, 255).astype(np.uint8) for index in range(FRAMES)]


@pytest.fixture(scope="session")
def clip(frames: list[NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames, gap=5000)


def brightness(path: Path) -> float:
    return float(np.mean([frame.to_ndarray(format="gray").mean() for frame in pictures(path)]))


@pytest.mark.slow
def test_a_video_comes_out_brighter_with_all_that_goes_with_it(
    corrector: Corrector, clip: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int, int]] = []
    target = tmp_path / "out.mp4"
    summary = correct_video(
        clip, target, SequenceCorrector(corrector, smoothing=FAST), progress=lambda *counts: told.append(counts)
    )
    assert summary == Summary(FRAMES, FRAMES, "", (), False)
    assert told[-1] == (FRAMES, FRAMES, FRAMES)
    before, after = pictures(clip), pictures(target)
    assert [frame.time for frame in after] == [frame.time for frame in before]  # with the gap
    assert brightness(target) > brightness(clip) + 20
    assert sound(target) == sound(clip)
    assert (after[0].width, after[0].height) == (before[0].width, before[0].height)
    assert after[0].format.name == "yuv420p"
    with video.av.open(str(clip)) as source, video.av.open(str(target)) as container:
        for tag in video_colour.TAGS:
            wanted = getattr(source.streams.video[0].codec_context, tag)
            assert getattr(container.streams.video[0].codec_context, tag) == wanted == 1
        assert container.metadata["title"] == "Test"
        assert container.streams.audio[0].metadata["language"] == "eng"
        assert container.streams.video[0].codec.canonical_name == "h264"


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is not installed")
def test_ffprobe_finds_nothing_wrong(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    correct_video(clip, tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED))
    command = ["ffprobe", "-v", "warning", "-count_frames", "-show_entries", "stream=codec_type,nb_read_frames"]
    done = subprocess.run(
        [*command, "-of", "csv=p=0", tmp_path / "out.mp4"], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    assert f"video,{FRAMES}" in done.stdout
    assert "audio," in done.stdout


@pytest.mark.parametrize(
    ("matrix", "stored", "suffix"),
    [
        ((0, 1, -1, 0), np.rot90, "mov"),
        ((-1, 0, 0, -1), lambda frame: frame[::-1, ::-1], "avi"),  # which cannot tell of rotation
        ((0, -1, 1, 0), lambda frame: np.rot90(frame, -1), "ts"),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1], "mkv"),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2), "mp4"),
    ],
    ids=["clockwise", "half", "counter-clockwise", "mirrored", "transposed"],
)
def test_a_rotated_video_is_put_upright(
    corrector: Corrector,
    frames: list[NDArray[np.uint8]],
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    stored: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    suffix: str,
) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames[:3], sound=False)
    turned = [np.ascontiguousarray(stored(frame)) for frame in frames[:3]]
    make_video(tmp_path / "turned.mp4", turned, matrix=matrix, sound=False)
    sequence = SequenceCorrector(corrector, Settings() if suffix == "mov" else UNCHANGED, FAST)
    correct_video(plain, tmp_path / "wanted.mp4", sequence)
    target = tmp_path / f"out.{suffix}"
    correct_video(tmp_path / "turned.mp4", target, sequence)
    wanted, result = pictures(tmp_path / "wanted.mp4"), pictures(target)
    assert len(result) == len(wanted)
    assert result[1].rotation == 0
    difference = wanted[1].to_ndarray(format="rgb24").astype(int) - result[1].to_ndarray(format="rgb24")
    assert np.abs(difference).mean() < 4


def test_the_aspect_of_pixels_turns_with_them(
    corrector: Corrector, frames: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    for name, matrix in (("plain", None), ("turned", (0, 1, -1, 0))):
        source = make_video(tmp_path / f"{name}.mp4", frames[:2], matrix=matrix, aspect=Fraction(4, 3), sound=False)
        correct_video(source, tmp_path / f"{name}.mkv", SequenceCorrector(corrector, UNCHANGED))
    found = []
    for name in ("plain", "turned"):
        with video.av.open(str(tmp_path / f"{name}.mkv")) as container:
            found.append(container.streams.video[0].sample_aspect_ratio)
    assert found == [Fraction(4, 3), Fraction(3, 4)]


def test_motion_jpeg_with_exif(corrector: Corrector, frames: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    """Its side data has a type that some PyAV versions do not know."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with video.av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", 25)
        stream.width, stream.height, stream.pix_fmt = 176, 112, "yuvj420p"
        for index, frame in enumerate(frames[:2]):
            contents = io.BytesIO()
            Image.fromarray(frame).save(contents, "JPEG", exif=exif)
            packet = video.av.Packet(contents.getvalue())
            packet.pts = packet.dts = index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            container.mux(packet)
    correct_video(tmp_path / "in.mkv", tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED))
    [first, _] = pictures(tmp_path / "out.mp4")
    assert (first.width, first.height) == (112, 176)
    difference = np.rot90(frames[0], -1).astype(int) - first.to_ndarray(format="rgb24")
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize(("codec", "name"), [("libx264", "in.mp4"), ("mpeg4", "in.mkv"), ("prores_ks", "in.mov")])
def test_interlaced_video_is_refused(
    corrector: Corrector, frames: list[NDArray[np.uint8]], tmp_path: Path, codec: str, name: str
) -> None:
    sequence = SequenceCorrector(corrector, UNCHANGED)
    pixels = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    source = make_video(tmp_path / name, frames[:3], codec, pixels, flags="+ildct+ilme", sound=False)
    with pytest.raises(VideoError, match="is interlaced; deinterlace it first"):
        correct_video(source, tmp_path / "out.mp4", sequence)
    assert list(tmp_path.iterdir()) == [source]
    make_video(source, frames[:3], codec, pixels, sound=False)
    assert correct_video(source, tmp_path / "out.mp4", sequence).frames == 3


@pytest.mark.parametrize(("codec", "pixels"), [("libx265", "yuv420p10le"), ("ffv1", "yuv444p")])
def test_depth_and_codec_are_kept(
    corrector: Corrector, frames: list[NDArray[np.uint8]], tmp_path: Path, codec: str, pixels: str
) -> None:
    source = make_video(tmp_path / "in.mkv", frames[:5], codec, pixels)
    correct_video(source, tmp_path / "out.mkv", SequenceCorrector(corrector, UNCHANGED))
    with video.av.open(str(source)) as before, video.av.open(str(tmp_path / "out.mkv")) as after:
        assert after.streams.video[0].codec.canonical_name == before.streams.video[0].codec.canonical_name
        assert after.streams.video[0].pix_fmt == pixels


@pytest.mark.parametrize(
    ("codec", "pixels", "tags", "bias"),
    [
        ("libx264", "yuv420p", {}, 0.2),
        ("libx265", "yuv420p10le", {}, 0.2),
        ("libx264", "yuv420p", {"color_range": video_colour.FULL}, 0.6),  # FFmpeg rounds its chroma down
        ("libx264", "yuv420p", {"color_primaries": 0, "color_trc": 0}, 0.2),  # reserved values
    ],
    ids=["8 bits", "10 bits", "full range", "reserved"],
)
def test_strength_0_keeps_the_colours(
    corrector: Corrector,
    frames: list[NDArray[np.uint8]],
    tmp_path: Path,
    codec: str,
    pixels: str,
    tags: dict[str, int],
    bias: float,
) -> None:
    source = make_video(tmp_path / "in.mp4", frames[:4], codec, pixels, tags=tags)
    correct_video(source, tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED), encoding=Encoding(crf=0))
    for before, after in zip(pictures(source), pictures(tmp_path / "out.mp4"), strict=True):
        difference = before.to_ndarray(format="rgb24").astype(float) - after.to_ndarray(format="rgb24")
        assert abs(difference.mean()) < bias
        assert np.sqrt((difference**2).mean()) < 2


@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "yuv420p"), ("libx265", "yuv420p10le")])
def test_colours_are_read_without_bias(tmp_path: Path, codec: str, pixels: str) -> None:
    """FFmpeg's fast conversion to 8 bits rounds down, which is a few percent in dark areas."""
    squares = np.random.default_rng(0).integers(5, 60, (9, 16, 3))
    still = np.kron(squares, np.ones((80, 80, 1))).astype(np.uint8)
    source = make_video(tmp_path / "in.mp4", [still] * 5, codec, pixels, sound=False)
    with reading(source) as reader:
        small = next(reader.reduced(512))
        full = reader.unpacked(next(iter(pictures(source))), "gbrp", video_colour.BILINEAR)
    assert small.shape == (3, 288, 512)
    wanted = still.mean((0, 1))
    assert np.abs(small.mean((1, 2)).numpy() * 255 - wanted).max() < 0.4
    assert np.abs(full.mean((0, 1)) - wanted).max() < 0.4


@pytest.mark.slow
def test_one_correction_for_the_clip(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    summary = correct_video(
        clip, tmp_path / "out.mp4", SequenceCorrector(corrector, smoothing=FAST), one_correction=True
    )
    assert summary.frames == FRAMES
    assert brightness(tmp_path / "out.mp4") > brightness(clip) + 20


def test_contents_in_memory(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    source = io.BytesIO(clip.read_bytes())
    assert correct_video(source, tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED)).frames == FRAMES


def test_streams_that_the_format_cannot_hold_are_told(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    summary = correct_video(clip, tmp_path / "out.webm", SequenceCorrector(corrector, UNCHANGED))
    assert summary.left_out == ("audio stream 1 (aac)",)
    assert pictures(tmp_path / "out.webm")[0].width == 176


def test_mpeg_ts_gets_only_what_can_be_read_there(
    corrector: Corrector, frames: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    """FFmpeg would write any codec, as data."""
    sequence, target = SequenceCorrector(corrector, UNCHANGED), tmp_path / "out.ts"
    source = make_video(tmp_path / "in.mkv", frames, "ffv1", sound="flac")
    assert correct_video(source, target, sequence).left_out == ("audio stream 1 (flac)",)
    assert len(pictures(target)) == FRAMES
    with pytest.raises(VideoError, match="cannot hold video of the encoder ffv1"):
        correct_video(source, target, sequence, encoding=Encoding("ffv1"), overwrite=True)


@pytest.mark.slow
def test_a_truncated_file_ends_with_a_sentence_and_what_was_finished(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = remux(clip, tmp_path / "whole.mp4", {"movflags": "faststart"}).read_bytes()
    source = tmp_path / "cut.mp4"
    source.write_bytes(whole[: len(whole) * 6 // 10])
    target = tmp_path / "out.mp4"
    assert main(["video", str(source), str(target), "--every", "8", "--quiet"]) == 1
    told = capsys.readouterr().err
    assert f"{source}: ends early" in told
    assert told.count("\n") == 1
    assert 2 < len(pictures(target)) < FRAMES
    assert sound(target)


def test_a_damaged_packet_is_passed_over(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    source = remux(clip, tmp_path / "damaged.mkv")
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    source.write_bytes(data)
    summary = correct_video(source, tmp_path / "out.mkv", SequenceCorrector(corrector, UNCHANGED))
    assert summary.frames == len(pictures(tmp_path / "out.mkv")) > FRAMES // 3


def test_interrupted(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    def stop(seen: int, done: int, expected: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    summary = correct_video(clip, tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED), progress=stop)
    assert summary.stopped
    assert summary.frames == len(pictures(tmp_path / "out.mp4")) == 5


def test_nothing_is_left_of_what_fails(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    def fail(seen: int, done: int, expected: int) -> None:
        if done == 5:
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        correct_video(clip, tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED), progress=fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("none.mp4", [], "none.mp4 does not exist; check the name"),
        ("text.mp4", [], "cannot be read as a video"),
        ("picture.png", [], "is a picture"),
        ("pq.mkv", [], "is HDR video (PQ)"),
        ("clip.mp4", ["--codec", "nonsense"], "this PyAV has no encoder nonsense"),
        ("clip.mp4", ["--codec", "wmv3"], "this PyAV has no encoder wmv3"),  # but a decoder
        ("clip.mp4", ["--codec", "aac"], "aac encodes audio streams, not video"),
        ("clip.mp4", ["--codec", "mov_text"], "mov_text encodes subtitle streams, not video"),
        ("clip.mp4", ["--codec", "flashsv"], "cannot hold video of the encoder flashsv"),
        ("clip.mp4", ["--codec", "cfhd"], "cannot hold video of the encoder cfhd"),  # which knows two sizes
        ("clip.mp4", ["--every", "0"], "1 to 1000 frames apart"),
    ],
)
def test_failures_are_told_in_a_sentence(
    clip: Path,
    frames: list[NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    Image.fromarray(frames[0]).save(tmp_path / "picture.png")
    make_video(
        tmp_path / "pq.mkv",
        frames[:2],
        "libx264",
        "yuv420p10le",
        tags={"color_trc": 16, "color_primaries": 9, "colorspace": 9},
    )
    shutil.copy(clip, tmp_path / "clip.mp4")
    before = sorted(tmp_path.iterdir())
    assert main(["video", str(tmp_path / name), str(tmp_path / "out.mp4"), "--quiet", *arguments]) in (1, 2)
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells of open files by /proc")
@pytest.mark.parametrize("step", ["__init__", "write", "close"])
def test_whatever_fails_no_file_stays_open(
    corrector: Corrector, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(Writer, step, fail)
    with pytest.raises(RuntimeError, match="unforeseen") as raised:
        correct_video(clip, tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED))
    files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert raised.tb  # which keeps all that is not closed
    assert not [name for name in files if name.startswith((str(tmp_path), str(clip)))]
    assert not list(tmp_path.iterdir())


def test_files_are_not_replaced_unasked(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        correct_video(clip, target, SequenceCorrector(corrector))
    assert target.read_text() == "mine"
    assert correct_video(clip, target, SequenceCorrector(corrector, UNCHANGED), overwrite=True).frames == FRAMES
    with pytest.raises(VideoError, match="is the input"):
        correct_video(clip, clip, SequenceCorrector(corrector), overwrite=True)
    with pytest.raises(VideoError, match="suffix"):
        correct_video(clip, tmp_path / "out.gif", SequenceCorrector(corrector))


@pytest.mark.slow
def test_the_command_line_tells_what_was_done(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.mkv"
    arguments = ["--every", "8", "--smoothing", "8", "--cuts", "12", "--crf", "30"]
    assert main(["video", str(clip), str(target), *arguments]) == 0
    told = capsys.readouterr()
    assert f"{FRAMES} frames corrected: {target}" in told.out
    assert "frame/s" in told.err or "s/frame" in told.err


def test_sound_that_lasts_longer_is_no_truncation(
    corrector: Corrector, frames: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    source = make_video(tmp_path / "in.mkv", frames[:4], seconds=3)
    assert not correct_video(source, tmp_path / "out.mkv", SequenceCorrector(corrector, UNCHANGED)).problem


def test_a_disk_that_is_full(corrector: Corrector, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise video.av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "write", full)
    with pytest.raises(VideoError, match=r"out\.mp4: cannot be written \(No space left"):
        correct_video(clip, tmp_path / "out.mp4", SequenceCorrector(corrector, UNCHANGED))
    assert not list(tmp_path.iterdir())


def test_without_pyav(monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(video_av, "av", None)
    with pytest.raises(VideoError, match="pip install"):
        correct_video(clip, tmp_path / "out.mp4", SequenceCorrector(Corrector.load()))


def test_a_pyav_too_old(monkeypatch: pytest.MonkeyPatch, clip: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(video.av, "__version__", "15.1.0")
    with pytest.raises(VideoError, match=r"needs PyAV 16 or newer, but found 15\.1\.0; install it with: pip install"):
        correct_video(clip, tmp_path / "out.mp4", SequenceCorrector(Corrector.load()))


@pytest.mark.slow
def test_the_core_imports_without_pyav() -> None:
    code = "import sys; sys.modules['av'] = None; import expcorr_core.commands"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_expected_frames_by_duration(corrector: Corrector, clip: Path, tmp_path: Path) -> None:
    source = remux(clip, tmp_path / "clip.mkv")  # Matroska does not count frames
    summary = correct_video(source, tmp_path / "out.mkv", SequenceCorrector(corrector, UNCHANGED))
    assert math.isclose(summary.expected, FRAMES, abs_tol=8)
    assert not summary.problem
