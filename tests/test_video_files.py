"""Every kind of video: what the format can hold is kept, and everything else is reported."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video_files import add_streams, look, make_plain, make_video, pictures

from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.settings import Settings
from expcorr_core.video.files import Encoding, Summary, VideoError, correct_video
from expcorr_core.video.sequence import SequenceCorrector
from expcorr_core.video.tags import tells_place, with_mac_language

DARK, RED, GLASS = (16, 16, 16, 255), (150, 60, 90, 255), (150, 60, 90, 128)
BT709, BT601, FULL, RGB = 1, 5, 2, 0
PLACE = {"com.apple.quicktime.location.ISO6709": "+48.1000+011.5000/", "location": "+48.1000+011.5000/"}
PHONE = {"com.apple.quicktime.make": "Maker", "com.android.version": "14", "title": "Trip"}


@pytest.fixture(scope="session")
def unchanged(corrector: Corrector) -> SequenceCorrector:
    """These tests are about the file, not the picture."""
    return SequenceCorrector(corrector, Settings(strength=0))


@pytest.mark.parametrize(
    ("codec", "pixels", "colour", "names", "found"),
    [
        # RGB stays RGB where the codec has it; else it is 4:4:4, with a range and a matrix that are right.
        ("qtrle", "rgb24", DARK, "mov mov", ("qtrle", "rgb24", "")),
        ("qtrle", "rgb24", DARK, "mov mp4", ("h264", "yuv444p", "it was RGB, 8 bits")),
        (
            "qtrle",
            "rgb24",
            RED,
            "mov ts",
            ("h264", "yuv444p", "qtrle is written as h264, since PyAV cannot write qtrle into mpegts"),
        ),
        ("qtrle", "rgb24", DARK, "mov webm", ("vp9", "gbrp", "since PyAV cannot write qtrle into webm")),
        ("libx264rgb", "rgb24", RED, "mkv mkv", ("h264", "gbrp", "")),
        ("libx264rgb", "rgb24", RED, "mkv avi", ("h264", "gbrp", "")),
        ("libx265", "gbrp10le", RED, "mkv mp4", ("hevc", "gbrp10le", "")),
        ("ffv1", "bgr0", RED, "mkv avi", ("ffv1", "bgr0", "")),
        ("ffv1", "gbrp10le", RED, "mkv mov", ("h264", "yuv444p10le", "cannot write ffv1 into mov")),
        ("utvideo", "gbrp", RED, "avi avi", ("utvideo", "gbrp", "")),
        ("utvideo", "gbrp", RED, "avi mkv", ("h264", "yuv444p", "cannot write utvideo into matroska")),
        ("huffyuv", "rgb24", RED, "avi avi", ("huffyuv", None, "")),
        ("png", "rgb48be", RED, "mov mov", ("png", "rgb48be", "")),
        ("rawvideo", "bgr24", RED, "avi avi", ("rawvideo", "bgr24", "")),
        # Alpha stays where codec and format can hold it.
        ("prores_ks", "yuva444p10le", GLASS, "mov mov", ("prores", None, None)),  # some FFmpeg read it as 12 bits
        ("prores_ks", "yuva444p10le", GLASS, "mov mp4", ("h264", None, "its transparency is left out")),
        ("libvpx-vp9", "yuva420p", GLASS, "webm webm", ("vp9", "yuva420p", "")),
        ("libvpx-vp9", "yuva420p", GLASS, "webm mkv", ("vp9", "yuva420p", "")),
        ("libvpx-vp9", "yuva420p", GLASS, "webm mp4", ("vp9", "yuv420p", "its transparency is left out")),
        ("libvpx", "yuva420p", GLASS, "webm webm", ("vp8", "yuva420p", "")),
        ("qtrle", "argb", GLASS, "mov mov", ("qtrle", "argb", "")),
        ("qtrle", "argb", GLASS, "mov webm", ("vp9", "yuva420p", "since PyAV cannot write qtrle into webm")),
        ("ffv1", "yuva444p10le", GLASS, "mkv mkv", ("ffv1", "yuva444p10le", "")),
        ("qtrle", "argb", RED, "mov mp4", ("h264", "yuv444p", "it was RGB")),  # all opaque: nothing to tell of
        # Encoders that are choosy about time bases, formats or rates.
        ("mpeg2video", "yuv420p", RED, "ts mp4", ("mpeg2video", "yuv420p", "")),
        ("mpeg2video", "yuv420p", RED, "ts ts", ("mpeg2video", "yuv420p", "")),
        ("mpeg1video", "yuv420p", RED, "mkv ts", ("mpeg1video", "yuv420p", "")),
        ("libvpx-vp9", "yuv420p", RED, "webm mov", ("h264", "yuv420p", "vp9 only supported in MP4")),
        ("libvpx-vp9", "yuv420p", RED, "webm avi", ("vp9", "yuv420p", "")),
        ("prores_ks", "yuv422p10le", RED, "mov mkv", ("prores", "yuv422p10le", "")),
        ("mjpeg", "yuvj420p", RED, "avi mov", ("mjpeg", "yuvj420p", "")),
        ("msmpeg4", "yuv420p", RED, "avi mkv", ("msmpeg4v3", "yuv420p", "")),
        ("flv", "yuv420p", RED, "avi mov", ("h264", "yuv420p", "flv1 is written as h264")),
        ("ffv1", "gray", DARK, "mkv mkv", ("ffv1", "gray", "")),
        ("ffv1", "yuv411p", RED, "mkv mkv", ("ffv1", "yuv411p", "")),
    ],
)
def test_a_kind_of_picture_plays_as_it_did(
    unchanged: SequenceCorrector,
    tmp_path: Path,
    codec: str,
    pixels: str,
    colour: tuple[int, int, int, int],
    names: str,
    found: tuple[str, str | None, str | None],
) -> None:
    before, after = names.split()
    count = 60 if "ts" in (before, after) else 5  # shorter ones are not known as MPEG-TS
    options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
    tags = {"color_range": FULL} if pixels.startswith("yuvj") else {}
    source = make_plain(
        tmp_path / f"in.{before}", codec, pixels, colour, times=range(count), options=options, tags=tags
    )
    summary = correct_video(source, tmp_path / f"out.{after}", unchanged)
    frame, shown = look(tmp_path / f"out.{after}")
    kept, form, note = found
    told = " / ".join(summary.notes)
    assert (summary.frames, summary.problem, summary.left_out) == (count, "", ())
    assert note in told if note else note is None or not told
    assert form in (None, frame.format.name)
    assert np.abs(shown[:3].astype(int) - colour[:3]).max() <= 4
    assert shown[3] == 255 if "transparency is left out" in told else abs(int(shown[3]) - colour[3]) <= 2
    with av.open(str(tmp_path / f"out.{after}")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec.canonical_name == kept
        assert stream.codec_context.colorspace != RGB or frame.format.is_rgb


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv", "webm", "avi", "ts"])
def test_ffmpeg_shows_the_same_dark_grey(unchanged: SequenceCorrector, tmp_path: Path, suffix: str) -> None:
    source = make_plain(tmp_path / "in.mov", "qtrle", "rgb24", DARK)
    correct_video(source, tmp_path / f"out.{suffix}", unchanged)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / f"out.{suffix}", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    shown = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    assert shown.size == 5 * 64 * 48 * 3
    assert set(np.unique(shown)) == {16}


@pytest.mark.parametrize(
    ("codec", "pixels", "tags", "suffix"),
    [
        ("libx264", "yuv420p", {"color_range": FULL}, "mp4"),
        ("libx264", "yuv420p", {"colorspace": BT709, "color_range": FULL}, "avi"),
        ("ffv1", "yuv420p", {"colorspace": BT709, "color_range": FULL}, "mkv"),
        ("ffv1", "yuv420p", {"colorspace": BT709, "color_range": FULL}, "avi"),  # which can note neither
        ("ffv1", "yuv420p", {"colorspace": BT709, "color_range": FULL}, "mp4"),
        ("ffv1", "yuv420p", {"color_range": FULL}, "webm"),
    ],
)
def test_range_and_matrix_are_right_or_not_needed(
    unchanged: SequenceCorrector, tmp_path: Path, codec: str, pixels: str, tags: dict[str, int], suffix: str
) -> None:
    source = make_plain(tmp_path / "in.mkv", codec, pixels, RED, tags=tags)
    summary = correct_video(source, tmp_path / f"out.{suffix}", unchanged)
    frame, shown = look(tmp_path / f"out.{suffix}")
    assert np.abs(shown[:3].astype(int) - RED[:3]).max() <= 4
    told = any("that players assume" in note for note in summary.notes)
    assert told == (frame.color_range != FULL)


def test_a_matrix_of_rgb_on_luma_and_chroma_is_mended(unchanged: SequenceCorrector, tmp_path: Path) -> None:
    source = make_plain(tmp_path / "in.mkv", "ffv1", "yuv444p", RED, tags={"colorspace": BT601})
    data = source.read_bytes()
    assert data.count(b"\x55\xb1\x81\x05") == 1  # Matroska's MatrixCoefficients
    source.write_bytes(data.replace(b"\x55\xb1\x81\x05", b"\x55\xb1\x81\x00"))
    summary = correct_video(source, tmp_path / "out.mkv", unchanged)
    assert any("was invalid" in note for note in summary.notes)
    assert look(tmp_path / "out.mkv")[0].colorspace == BT601


@pytest.mark.parametrize(("size", "form"), [((81, 61), "yuv444p"), ((80, 61), "yuv444p"), ((80, 60), "yuv420p")])
def test_odd_sides(unchanged: SequenceCorrector, tmp_path: Path, size: tuple[int, int], form: str) -> None:
    source = make_plain(tmp_path / "in.webm", "libvpx-vp9", "yuv420p", RED, size=size)
    summary = correct_video(source, tmp_path / "out.mov", unchanged)
    frame, _ = look(tmp_path / "out.mov")
    assert (frame.width, frame.height) == size
    assert frame.format.name in (form, "yuv422p") if size[0] % 2 == 0 else frame.format.name == form
    assert any("it was 4:2:0" in note for note in summary.notes) == (form != "yuv420p")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_moving_pictures(unchanged: SequenceCorrector, tmp_path: Path, kind: str) -> None:
    stills = [Image.new("RGB", (81, 61), (16 + 20 * index, 60, 90)) for index in range(4)]
    source = tmp_path / f"in.{kind.lower()}"
    stills[0].save(source, kind, save_all=True, append_images=stills[1:], duration=80, lossless=True)
    if kind == "WEBP" and int(av.__version__.partition(".")[0]) < 19:
        with pytest.raises(VideoError, match="is an animated WebP picture, which this PyAV cannot read"):
            correct_video(source, tmp_path / "out.mp4", unchanged)
        return
    summary = correct_video(source, tmp_path / "out.mp4", unchanged)
    frame, shown = look(tmp_path / "out.mp4")
    assert summary.frames == 4
    assert (frame.width, frame.height, frame.format.name) == (81, 61, "yuv444p")
    assert np.abs(shown[:3].astype(int) - (76, 60, 90)).max() <= 4
    assert not any("transparency" in note for note in summary.notes)  # GIF always has a place for it


@pytest.mark.parametrize(
    ("codec", "suffix", "tick"),
    [
        ("mpeg4", "mp4", Fraction(1, 90000)),  # more than MPEG-4's 16 bits
        ("mpeg2video", "mkv", Fraction(1, 1000)),
        ("libx264", "mov", Fraction(1, 90000)),
        ("libvpx-vp9", "webm", Fraction(1, 1000)),
    ],
)
def test_uneven_times_stay(
    unchanged: SequenceCorrector, tmp_path: Path, codec: str, suffix: str, tick: Fraction
) -> None:
    times = [round(step / tick) for step in map(Fraction, ("0", "0.04", "0.12", "0.24", "0.28"))]
    source = make_plain(tmp_path / "in.mkv", "ffv1", "yuv420p", RED, times=times, tick=tick)
    correct_video(source, tmp_path / f"out.{suffix}", unchanged, encoding=Encoding(codec))
    found = [frame.time for frame in pictures(tmp_path / f"out.{suffix}")]
    assert np.allclose(found, [0, 0.04, 0.12, 0.24, 0.28], atol=0.0011)


def test_avi_gets_an_even_rate_and_it_is_told(unchanged: SequenceCorrector, tmp_path: Path) -> None:
    even = make_plain(
        tmp_path / "even.webm", "libvpx-vp9", "yuv420p", RED, times=range(0, 200, 40), tick=Fraction(1, 1000)
    )
    assert not correct_video(even, tmp_path / "even.avi", unchanged).notes
    with av.open(str(tmp_path / "even.avi")) as container:
        assert container.streams.video[0].average_rate == 25
    uneven = make_plain(
        tmp_path / "uneven.mkv", "mpeg4", "yuv420p", RED, times=(0, 40, 45, 50, 180), tick=Fraction(1, 1000)
    )
    summary = correct_video(uneven, tmp_path / "uneven.avi", unchanged)
    assert summary.frames == 5
    assert any("AVI has a constant frame rate" in note for note in summary.notes)


@pytest.mark.parametrize(("rate", "suffix"), [("1/10", "mp4"), ("1", "avi"), ("240", "mkv"), ("1200", "mp4")])
def test_low_and_high_rates(unchanged: SequenceCorrector, tmp_path: Path, rate: str, suffix: str) -> None:
    fraction = Fraction(rate)
    source = make_plain(tmp_path / "in.mp4", "libx264", "yuv420p", RED, rate=fraction, tick=1 / fraction)
    correct_video(source, tmp_path / f"out.{suffix}", unchanged)
    frames = pictures(tmp_path / f"out.{suffix}")
    assert len(frames) == 5
    assert abs(frames[4].time - frames[0].time - 4 / float(fraction)) < 0.0011


def test_a_rate_that_a_format_cannot_hold(unchanged: SequenceCorrector, tmp_path: Path) -> None:
    source = make_plain(tmp_path / "in.mp4", "libx264", "yuv420p", rate=Fraction(1200), tick=Fraction(1, 1200))
    with pytest.raises(VideoError, match=r"1200 frames/s; this format holds at most 1000: choose \.mp4 or \.mov"):
        correct_video(source, tmp_path / "out.mkv", unchanged)


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "mjpeg", "flv", "svq1"])
def test_codecs_without_rate_factor_get_a_good_quality(
    unchanged: SequenceCorrector, tmp_path: Path, codec: str
) -> None:
    rng = np.random.default_rng(0)
    still = np.kron(rng.integers(20, 120, (15, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    source = make_video(tmp_path / "in.mkv", [still] * 3, "ffv1", "yuv444p", sound=False)
    suffix = "mov" if codec == "svq1" else "avi"
    correct_video(source, tmp_path / f"out.{suffix}", unchanged, encoding=Encoding(codec))
    grey = [pictures(path)[0].to_ndarray(format="gray").astype(float) for path in (source, tmp_path / f"out.{suffix}")]
    assert np.sqrt(((grey[0] - grey[1]) ** 2).mean()) < 6


@pytest.mark.parametrize(
    ("codec", "known"), [("mpeg4", False), ("ffv1", False), ("libx264", True), ("libvpx-vp9", True)]
)
def test_a_rate_factor_that_an_encoder_does_not_know_is_told(
    unchanged: SequenceCorrector, tmp_path: Path, codec: str, known: bool
) -> None:
    source = make_plain(tmp_path / "in.mkv", "ffv1", "yuv420p", RED)
    notes = correct_video(source, tmp_path / "out.mkv", unchanged, encoding=Encoding(codec, 20)).notes
    assert notes == (() if known else (f"{codec} has no rate factor, so 20 is not used",))


def test_dnxhd_as_such_or_as_dnxhr(unchanged: SequenceCorrector, tmp_path: Path) -> None:
    source = make_plain(tmp_path / "in.mov", "dnxhd", "yuv422p", RED, size=(320, 240), options={"profile": "dnxhr_sq"})
    summary = correct_video(source, tmp_path / "out.mov", unchanged)
    with av.open(str(tmp_path / "out.mov")) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == "dnxhd"
    assert not summary.notes


def test_an_edit_list_that_hides_frames(
    unchanged: SequenceCorrector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_plain(tmp_path / "in.mp4", "libx264", "yuv420p", RED, times=range(30), options={"bf": "0"})
    data = bytearray(source.read_bytes())
    place = data.index(b"elst")
    whole = int.from_bytes(data[place + 12 : place + 16], "big")  # milliseconds
    data[place + 12 : place + 16] = (whole * 12 // 30).to_bytes(4, "big")
    data[place + 16 : place + 20] = round(0.4 * 12800).to_bytes(4, "big")  # of media time
    source.write_bytes(data)
    shown = len(pictures(source))
    assert shown < 30
    assert main(["video", str(source), str(tmp_path / "out.mp4"), "--strength", "0", "--quiet"]) == 0
    assert not capsys.readouterr().err
    assert len(pictures(tmp_path / "out.mp4")) == shown


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("kept", ["all", "no-gps", "none"])
def test_keys_of_phones(unchanged: SequenceCorrector, tmp_path: Path, suffix: str, kept: str) -> None:
    source = make_plain(
        tmp_path / "in.mov", "libx264", "yuv420p", metadata={**PHONE, **PLACE}, movflags="use_metadata_tags"
    )
    summary = correct_video(source, tmp_path / f"out.{suffix}", unchanged, metadata=kept)
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
    wanted = {"all": {**PHONE, **PLACE}, "no-gps": PHONE, "none": {}}[kept]
    for key, value in {**PHONE, **PLACE}.items():
        assert found.get(key.lower()) == (value if key in wanted else None)
    assert summary.left_out == ()
    if kept != "all":
        assert b"48.1" not in (tmp_path / f"out.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ["avi", "ts"])
def test_tags_that_a_format_cannot_hold_are_told(unchanged: SequenceCorrector, tmp_path: Path, suffix: str) -> None:
    source = make_plain(tmp_path / "in.mov", "libx264", "yuv420p", metadata=PHONE, movflags="use_metadata_tags")
    left_out = correct_video(source, tmp_path / f"out.{suffix}", unchanged).left_out
    assert set(left_out) == {"tag com.apple.quicktime.make", "tag com.android.version"}


def _chapters(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [chapter["metadata"].get("title", "") for chapter in container.chapters()]


@pytest.mark.parametrize(
    ("suffix", "kept"), [("mp4", True), ("mov", True), ("mkv", True), ("avi", False), ("ts", False)]
)
def test_chapters(unchanged: SequenceCorrector, tmp_path: Path, suffix: str, kept: bool) -> None:
    plain = make_plain(tmp_path / "plain.mkv", "libx264", "yuv420p")
    with av.open(str(plain)) as source, av.open(str(tmp_path / "in.mp4"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0], opaque=True)
        base = Fraction(1, 1000)
        titles = enumerate(("One", "Two"))
        copy.set_chapters(
            [
                {"id": n, "start": 80 * n, "end": 80 * n + 80, "time_base": base, "metadata": {"title": t}}
                for n, t in titles
            ]
        )
        for packet in source.demux():
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    summary = correct_video(tmp_path / "in.mp4", tmp_path / f"out.{suffix}", unchanged)
    assert _chapters(tmp_path / f"out.{suffix}") == (["One", "Two"] if kept else [])
    assert summary.left_out == (() if kept else ("chapters",))


@pytest.mark.parametrize(("suffix", "kept"), [("mp4", True), ("mkv", True), ("mov", False), ("avi", False)])
def test_a_cover(unchanged: SequenceCorrector, tmp_path: Path, suffix: str, kept: bool) -> None:
    clip = make_plain(tmp_path / "clip.mp4", "libx264", "yuv420p")
    cover = make_plain(tmp_path / "cover.mov", "png", "rgb24", RED, times=(0,))
    attached = int(av.stream.Disposition.attached_pic.value)
    source = add_streams(clip, tmp_path / "in.mp4", cover, cover=attached)
    summary = correct_video(source, tmp_path / f"out.{suffix}", unchanged)
    assert summary.left_out == (() if kept else ("video stream 1 (png)",))
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        covers = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        assert len(covers) == kept


@pytest.mark.parametrize(("suffix", "kept"), [("mkv", True), ("mp4", False), ("webm", False)])
def test_an_attachment(unchanged: SequenceCorrector, tmp_path: Path, suffix: str, kept: bool) -> None:
    plain = make_plain(tmp_path / "plain.mkv", "libx264", "yuv420p")
    with av.open(str(plain)) as clip, av.open(str(tmp_path / "in.mkv"), "w") as copy:
        stream = copy.add_stream_from_template(clip.streams.video[0], opaque=True)
        copy.add_attachment("font.ttf", "font/ttf", b"letters")
        for packet in clip.demux():
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    summary = correct_video(tmp_path / "in.mkv", tmp_path / f"out.{suffix}", unchanged)
    assert any("attachment stream 1" in part for part in summary.left_out) != kept
    assert (b"letters" in (tmp_path / f"out.{suffix}").read_bytes()) == kept


@pytest.mark.parametrize(("suffix", "kept"), [("mp4", True), ("mov", True), ("mkv", True), ("webm", False)])
def test_a_second_picture_is_copied_and_told(
    unchanged: SequenceCorrector, tmp_path: Path, suffix: str, kept: bool
) -> None:
    first = make_plain(tmp_path / "first.mp4", "libx264", "yuv420p", RED)
    second = make_plain(tmp_path / "second.mp4", "libx264", "yuv420p", DARK, size=(96, 64))
    source = add_streams(first, tmp_path / "in.mp4", second)
    summary = correct_video(source, tmp_path / f"out.{suffix}", unchanged)
    assert ("video stream 1 is copied as it was, not corrected" in summary.notes) == kept
    assert ("video stream 1 (h264)" in summary.left_out) != kept
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        assert [stream.width for stream in container.streams.video] == [64, 96][: 1 + kept]


@pytest.mark.parametrize("suffix", ["mov", "mp4"])
def test_timecode(unchanged: SequenceCorrector, tmp_path: Path, suffix: str) -> None:
    source = make_plain(tmp_path / "in.mov", "libx264", "yuv420p", metadata={"timecode": "01:02:03:04"})
    with av.open(str(source)) as container:
        assert container.streams.data
    summary = correct_video(source, tmp_path / f"out.{suffix}", unchanged)
    assert summary.left_out == ()
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        assert [stream.metadata.get("timecode") for stream in container.streams.data] == ["01:02:03:04"]
    assert "tag timecode" in correct_video(source, tmp_path / "out.ts", unchanged).left_out


@pytest.mark.parametrize(
    ("sound", "names", "kept"),
    [
        ("aac", "mkv mp4", True),
        ("aac", "ts mkv", True),
        ("aac", "mkv webm", False),
        ("libopus", "mkv webm", True),
        ("libopus", "mkv avi", False),
        ("flac", "mkv ts", False),
        ("ac3", "mkv ts", True),
    ],
)
def test_sound_is_kept_or_told(
    unchanged: SequenceCorrector, tmp_path: Path, sound: str, names: str, kept: bool
) -> None:
    before, after = names.split()
    stills = [np.full((48, 64, 3), 16, np.uint8)] * 5
    source = make_video(tmp_path / f"in.{before}", stills, sound=sound)
    summary = correct_video(source, tmp_path / f"out.{after}", unchanged)
    with av.open(str(tmp_path / f"out.{after}")) as container:
        assert len(container.streams.audio) == kept
    assert any("audio stream 1" in part for part in summary.left_out) != kept


def test_the_aspect_of_pixels_is_kept_or_told(unchanged: SequenceCorrector, tmp_path: Path) -> None:
    source = make_plain(tmp_path / "in.mp4", "libx264", "yuv420p", aspect=Fraction(4, 3))
    assert correct_video(source, tmp_path / "out.mov", unchanged).left_out == ()
    summary = correct_video(source, tmp_path / "out.mkv", unchanged, encoding=Encoding("ffv1"))
    assert summary.left_out == ("the pixel aspect ratio",)


def test_the_command_line_tells_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_plain(tmp_path / "in.mov", "qtrle", "argb", GLASS, metadata=PHONE, movflags="use_metadata_tags")
    target = tmp_path / "out.avi"
    assert main(["video", str(source), str(target), "--strength", "0", "--quiet"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert f"expcorr: {target}: left out: tag com.apple.quicktime.make, tag com.android.version" in told
    assert any("qtrle is written as h264" in line for line in told)
    assert any("its transparency is left out" in line for line in told)


def test_text_that_tells_of_places() -> None:
    assert tells_place(b"[iso: 100] [latitude: 48.1] [longitude: 11.5]")
    assert tells_place(b"GPS (11.5, 48.1, 500)")
    assert not tells_place(b"We are lost, and so are the maps")


def test_languages_have_the_names_of_quicktime() -> None:
    assert with_mac_language({"language": "deu", "title": "Ton"}) == {"language": "ger", "title": "Ton"}
    assert with_mac_language({"language": "eng"}) == {"language": "eng"}


def test_a_summary_without_notes() -> None:
    assert Summary(1, 1, "", (), False).notes == ()
