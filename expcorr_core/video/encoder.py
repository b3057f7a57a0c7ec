"""Choosing an encoder: those that preserve most of the picture are tried on a file in memory before the work begins."""

from __future__ import annotations

import io
import os
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .colour import (
    BILINEAR,
    BT601,
    BT709,
    FULL,
    HD_HEIGHT,
    LIMITED,
    RGB,
    TAGS,
    UNSPECIFIED,
    Layout,
    always_full,
    layout_of,
    loss,
    orientation,
)
from .pyav import VideoError, av, ffmpegs_errors, fraction, open_video, opened, reason
from .reader import Reader

# Codecs that MPEG-TS has codes for; FFmpeg writes others there too, but as data that nothing can read.
MPEGTS = (
    *("mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "dirac", "mp2", "mp3", "aac", "ac3", "eac3", "dts"),
    *("opus", "truehd", "s302m", "dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle"),
)
# The encoders of a codec, best first; for other codecs, FFmpeg's first one.
ENCODERS = {
    "h264": ("libx264", "libx264rgb", "h264"),
    "hevc": ("libx265", "hevc"),
    "vp8": ("libvpx",),
    "vp9": ("libvpx-vp9",),
    "av1": ("libsvtav1", "libaom-av1", "av1"),
    "prores": ("prores_ks",),
}
OPTIONS = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "libx264rgb": {"crf": "18", "preset": "veryfast"},
    "libx265": {"crf": "20", "preset": "fast", "x265-params": "log-level=error"},
    "libvpx": {"crf": "10", "cpu-used": "4", "auto-alt-ref": "0"},  # which does not work with transparency
    "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"},
    "libsvtav1": {"crf": "24", "preset": "8"},
    "libaom-av1": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "6"},
}
# Encoders that take a quantizer, lower is better: without one FFmpeg gives them 200 kbit/s.
QUANTIZERS = dict.fromkeys(
    (
        *("mpeg4", "mpeg2video", "mpeg1video", "h261", "h263", "h263p", "flv", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2"),
        *("rv10", "rv20", "mjpeg", "snow", "svq1", "asv1", "asv2", "libxvid"),
    ),
    2,
)
LAMBDA = 118  # FFmpeg's FF_QP2LAMBDA
BITS_A_PIXEL = 0.2  # for encoders that need a bit rate
FULL_RANGE = ("mjpeg", "ljpeg", "amv")  # encoders that support no other range
TELL_RGB = ("h264", "hevc", "vp9", "av1")  # codecs whose bitstreams can signal RGB
ALPHA_BESIDE = ("libvpx", "libvpx-vp9")  # encoders whose transparency only Matroska can hold, beside the packets
PRORES = {"Proxy": "0", "LT": "1", "Standard": "2", "HQ": "3", "4444": "4", "4444XQ": "5"}
DNXHD_RATES = (36, 45, 60, 63, 75, 84, 90, 100, 110, 115, 120, 145, 175, 180, 185, 220, 240, 290, 350, 365, 390, 440)
DNXHR = {(1.0, 8): "dnxhr_hq", (1.0, 10): "dnxhr_hqx"}  # by height of chroma and depth; dnxhr_444 else
HIGHEST_AVI_RATE = 240  # frames/s; a higher rate is probably the clock's
COARSE = {"matroska": 1000, "webm": 1000, "avi": 1000}  # most frames/s with distinct timestamps
TRIED = 8  # most pixel formats tried per encoder


@dataclass(frozen=True)
class Encoding:
    """How the result is encoded.

    Attributes:
        codec: FFmpeg's name of an encoder; None for one for the input's codec.
        crf: constant rate factor: lower is better and larger; None for 18 to 24, by encoder.
    """

    codec: str | None = None
    crf: float | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The picture to encode.

    Attributes:
        codec: FFmpeg's name of the source's codec.
        profile: profile of that codec; empty if unknown.
        pixels: the source's pixel format.
        size: width and height, upright.
        aspect: width to height of a pixel.
        rate: frames per second, and the highest rate that the source states.
        time_base: seconds per tick of the frames' timestamps.
        start: start time of the file's earliest stream, seconds.
        bit_rate: of the source; 0 if unknown.
        tags: the source's colour tags.
        tag: the container's name of the codec.
    """

    codec: str
    profile: str
    pixels: str
    size: tuple[int, int]
    aspect: Fraction
    rate: tuple[Fraction, Fraction]
    time_base: Fraction
    start: Fraction
    bit_rate: int
    tags: dict[str, int]
    tag: str

    @property
    def layout(self) -> Layout:
        """The layout of the source's pixel format."""
        return layout_of(self.pixels)

    @property
    def matrix(self) -> int:
        """The matrix that players assume if no tag specifies it."""
        return BT709 if self.size[1] >= HD_HEIGHT else BT601

    def ticks(self, rate: Fraction) -> tuple[int, int]:
        """The first time at which frames of this rate are all shown, and the time between them, in ticks."""
        return max(0, round(self.start / self.time_base)), max(1, round(1 / (self.time_base * rate)))


def picture_of(reader: Reader, first: Any) -> Picture:
    """The picture of a file, from its stream and first frame."""
    stream, source = reader.stream, reader.stream.codec_context
    sideways = orientation(first)[0] % 2
    aspect = fraction(stream.sample_aspect_ratio or Fraction(1))
    width, height = source.width or first.width, source.height or first.height
    starts = [
        s.start_time * fraction(s.time_base)
        for s in reader.container.streams
        if s.start_time is not None and s.time_base
    ]
    return Picture(
        codec=source.codec.canonical_name,
        profile=source.profile or "",
        pixels=first.format.name,
        size=(height, width) if sideways else (width, height),
        aspect=1 / aspect if sideways else aspect,
        rate=(reader.rate, reader.highest_rate),
        time_base=fraction(first.time_base or stream.time_base),
        start=min(starts, default=Fraction(0)),
        bit_rate=stream.bit_rate or 0,
        tags={tag: int(getattr(source, tag)) for tag in TAGS},
        tag=source.codec_tag,
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a picture is encoded.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        codec: FFmpeg's name of the codec.
        pixels: its pixel format.
        tags: colour tags of the result.
        options: of the encoder.
        bit_rate: bits per second; 0 if the encoder uses a quality setting.
        times: ``source`` for the source's ticks; ``counted`` where the encoder counts frames, which keep their times
            in the file; ``even`` where the file counts frames.
        notes: what has changed, in sentences.
    """

    encoder: str
    codec: str
    pixels: str
    tags: dict[str, int]
    options: dict[str, str] = field(default_factory=dict)
    bit_rate: int = 0
    times: str = "source"
    notes: tuple[str, ...] = ()


def _nominal(rate: Fraction) -> Fraction:
    """A rate near this one that encoders accept: they store it in few bits."""
    for usual in (Fraction(24), Fraction(25), Fraction(30), Fraction(50), Fraction(60)):
        for one in (usual, usual * Fraction(1000, 1001)):
            if abs(rate / one - 1) < 2e-4:
                return one
    return rate.limit_denominator(1001)


class Track:
    """The encoder of a file's video stream: takes pixels, gives packets."""

    def __init__(self, container: Any, picture: Picture, plan: Plan) -> None:
        self.picture, self.plan = picture, plan
        low, high = picture.rate
        even = plan.times == "even"
        self.rate = _nominal(high if even and high <= HIGHEST_AVI_RATE else low)
        ticks = 1 / self.rate if plan.times != "source" else picture.time_base
        self.stream = container.add_stream(plan.encoder, self.rate, dict(plan.options))
        codec = self.stream.codec_context
        codec.width, codec.height = picture.size
        codec.sample_aspect_ratio = picture.aspect
        codec.pix_fmt = plan.pixels
        codec.time_base = ticks
        self.stream.time_base = ticks if even else picture.time_base
        codec.thread_type = "AUTO"
        for tag, value in plan.tags.items():
            setattr(codec, tag, value)
        if plan.bit_rate:
            codec.bit_rate = plan.bit_rate
        if plan.codec == "hevc" and picture.tag in ("hvc1", "hev1") and container.format.name in ("mp4", "mov"):
            codec.codec_tag = "hvc1"
        self.ticks = ticks
        self.last = -1 << 62
        self.count = 0
        self.waiting: deque[tuple[int, int]] = deque()  # times and durations of frames inside the encoder
        self.shift = 0.0  # largest change to a frame's time, seconds

    def encode(self, pixels: NDArray[Any], name: str, pts: int | None, duration: int = 0) -> Iterator[Any]:
        """Encode a frame of pixels in the pixel format ``name``; times are in the source's ticks."""
        plan, codec, full = self.plan, self.stream.codec_context, self.plan.tags["color_range"] == FULL
        matrix = plan.tags["colorspace"]
        frame = av.VideoFrame.from_ndarray(pixels, name).reformat(
            codec.width,  # a stream's size may change midway
            codec.height,
            plan.pixels,
            dst_colorspace=self.picture.matrix if matrix in (RGB, UNSPECIFIED) else matrix,
            src_color_range=FULL,
            dst_color_range=FULL if full or always_full(plan.pixels) else LIMITED,
            interpolation=BILINEAR,
        )
        for tag, value in plan.tags.items():
            if hasattr(frame, tag):  # PyAV 16 has half of them
                setattr(frame, tag, value)
        if plan.times == "even" and pts is not None:
            time = pts * self.picture.time_base - self.picture.start
            pts = max(round(time * self.rate), self.last + 1)
            self.shift = max(self.shift, abs(float(pts / self.rate - time)))
        # Damaged files may have no timestamps, or some that go back: encoders refuse these.
        pts = self.last = max(pts if pts is not None else self.last + 1, self.last + 1)
        if plan.times == "counted":
            self.waiting.append((pts, duration))
            pts = self.count
        self.count += 1
        frame.pts, frame.time_base = pts, self.ticks
        frame.duration = duration if plan.times == "source" else 1
        yield from self._timed(self.stream.encode(frame))

    def flush(self) -> Iterator[Any]:
        """The packets still inside the encoder."""
        if self.count:
            yield from self._timed(self.stream.encode(None))

    def _timed(self, packets: Any) -> Iterator[Any]:
        for packet in packets:
            if self.plan.times == "counted" and self.waiting:
                packet.time_base = self.picture.time_base
                packet.pts, duration = self.waiting.popleft()
                packet.dts, packet.duration = packet.pts, duration
            yield packet


def plans_for(encoder: Any, picture: Picture, encoding: Encoding, container: str) -> list[Plan]:
    """Ways to encode with an encoder, starting with the one that preserves most of the picture."""
    found = []
    names = [form.name for form in encoder.video_formats or () if form.components] or [picture.pixels]
    names = [name for name in names if not av.VideoFormat(name, 2, 2).has_palette] or names
    if encoder.name in ALPHA_BESIDE:
        may = ("yuva420p",) if container in ("matroska", "webm") else ()
        names = [name for name in names if not layout_of(name).alpha or name in may]
    times = ("even",) if container == "avi" else ("source", "counted")
    for name in sorted(names, key=lambda name: loss(picture.layout, name))[:TRIED]:
        plan = Plan(encoder=encoder.name, codec=encoder.canonical_name, pixels=name, tags=_tags(encoder, picture, name))
        for one in _qualities(plan, encoder, picture, encoding):
            for way in times:
                options = one.options if way == "source" else {**one.options, "bf": "0"}
                timed = replace(one, options=options, times=way)
                found += [timed, *_untagged(timed, container)]
    return found


def _untagged(plan: Plan, container: str) -> list[Plan]:
    """The plan with the colour tags that players assume, for formats that cannot store tags."""
    tags = {**plan.tags, "colorspace": UNSPECIFIED}
    if plan.tags["color_range"] == FULL:
        tags["color_range"] = LIMITED
    if always_full(plan.pixels) or plan.encoder in FULL_RANGE or tags == plan.tags:
        return []
    note = f"colour matrix and range are those that players assume, since {container} stores none for {plan.codec}"
    return [replace(plan, tags=tags, notes=(*plan.notes, note))]


def _tags(encoder: Any, picture: Picture, pixels: str) -> dict[str, int]:
    """The colour tags of the result in this pixel format."""
    tags, before, after = dict(picture.tags), picture.layout, layout_of(pixels)
    if after.rgb:
        tells = encoder.canonical_name in TELL_RGB
        tags["colorspace"] = RGB if tells else UNSPECIFIED
        tags["color_range"] = FULL if tells or not before.rgb else tags["color_range"]
        return tags
    if before.rgb or tags["colorspace"] == RGB:  # no matrix, which Y'CbCr must have
        tags["colorspace"] = picture.matrix
    if encoder.name in FULL_RANGE:
        tags["colorspace"] = BT601  # that of JPEG files
    if encoder.name in FULL_RANGE or (picture.pixels.startswith("yuvj") and not before.rgb):
        tags["color_range"] = FULL
    elif before.rgb:
        tags["color_range"] = LIMITED
    return tags


def _qualities(plan: Plan, encoder: Any, picture: Picture, encoding: Encoding) -> list[Plan]:
    """The plan with options for the source's quality; several to try if an encoder is choosy."""
    options, notes = dict(OPTIONS.get(plan.encoder, {})), plan.notes
    width, height = picture.size
    by_size = int(BITS_A_PIXEL * width * height * min(float(picture.rate[0]), HIGHEST_AVI_RATE)) + 100_000
    if plan.encoder in QUANTIZERS:
        options |= {"flags": "+qscale", "global_quality": str(QUANTIZERS[plan.encoder] * LAMBDA)}
    elif encoding.crf is not None:
        options["crf"] = f"{encoding.crf:g}"
    # The 4:4:4 profiles are only for 4:4:4, and the others are not for it.
    profile = PRORES.get(picture.profile, "") if plan.encoder == "prores_ks" else ""
    if profile and (layout_of(plan.pixels).chroma == (1.0, 1.0)) == (profile >= "4"):
        options["profile"] = profile
    if plan.encoder == "dnxhd":
        layout = layout_of(plan.pixels)
        better = replace(plan, options={"profile": DNXHR.get((layout.chroma[0] * 2, layout.depth), "dnxhr_444")})
        if picture.codec == "dnxhd" and picture.profile in ("", "DNXHD"):
            rate = min(DNXHD_RATES, key=lambda rate: abs(rate * 1_000_000 - picture.bit_rate))
            better = replace(better, notes=("DNxHD is written as high-quality DNxHR",))
            return [replace(plan, bit_rate=rate * 1_000_000), better]
        return [better]
    known = plan.encoder in (*OPTIONS, *QUANTIZERS) or (encoder.lossless and not encoder.lossy)
    bit_rate = by_size if plan.encoder == "libvpx" else 0 if known else max(picture.bit_rate, by_size)
    return [replace(plan, options=options, bit_rate=bit_rate, notes=notes)]


def _patch(picture: Picture) -> tuple[NDArray[Any], str]:
    """A plain picture to try encoders on, and its pixel format."""
    width, height = picture.size
    colour = (60, 60, 60) if picture.layout.chroma == (0.0, 0.0) else (150, 60, 90)
    return np.broadcast_to(np.array((*colour, 128), np.uint8), (height, width, 4)).copy(), "gbrap"


def attempt(container: str, picture: Picture, plan: Plan) -> str:
    """Encode a few frames into a file in memory and read them back; returns what is wrong, empty if nothing."""
    contents, frames = io.BytesIO(), 3
    pixels, name = _patch(picture)
    with ffmpegs_errors() as said:
        try:
            output = open_video(contents, "w", container)
            try:
                track = Track(output, picture, plan)
                start, step = picture.ticks(track.rate)
                for index in range(frames):
                    for packet in track.encode(pixels, name, start + index * step, step):
                        output.mux(packet)
                for packet in track.flush():
                    output.mux(packet)
            finally:
                output.close()
            wrong = _unlike(opened(contents, container), pixels, frames, plan)
        except (av.error.FFmpegError, ValueError, TypeError, RuntimeError) as error:
            wrong = reason(error)
    return said[0] if wrong and said else wrong


def _unlike(result: Any, pixels: NDArray[Any], frames: int, plan: Plan) -> str:
    """What is wrong with a file whose frames should all have these pixels; empty if nothing."""
    with result as container:
        reader = Reader(container, "the result")
        found = [reader.unpacked(frame, "gbrap", BILINEAR) for frame in reader.frames()]
        tags = {tag: getattr(reader.stream.codec_context, tag) for tag in TAGS}
    if len(found) != frames:
        return f"it has {len(found)} of {frames} frames"
    if found[0].shape != pixels.shape:
        return "its size changes"
    if np.abs(found[-1][..., :3].astype(int) - pixels[..., :3]).mean() > 12:
        return "its colours change"
    if not always_full(plan.pixels):
        if plan.tags["color_range"] == FULL != tags["color_range"]:
            return "its colour range is lost"
        if plan.tags["colorspace"] not in (RGB, UNSPECIFIED, tags["colorspace"]):
            return "its colour matrix is lost"
    if layout_of(plan.pixels).alpha and np.abs(found[-1][..., 3].astype(int) - pixels[..., 3]).mean() > 12:
        return "its transparency is lost"
    return ""


def plan_encoding(container: str, target: object, picture: Picture, encoding: Encoding) -> Plan:
    """The way to encode a picture that works, in a short trial, and preserves most of it.

    Args:
        container: FFmpeg's name of the file's format.
        target: the file, for messages.
        picture: the picture to encode.
        encoding: the user's choice.

    Raises:
        VideoError: there is no such encoder, or none works in this format at this size.
    """
    if picture.rate[0] > COARSE.get(container, picture.rate[0]):
        rates = f"{float(picture.rate[0]):g} frames/s; this format holds at most {COARSE[container]}"
        raise VideoError(f"{target}: has {rates}: choose .mp4 or .mov")
    os.environ.setdefault("SVT_LOG", "1")  # only errors: otherwise SVT-AV1 prints its settings to stderr at every trial
    own = encoding.codec or picture.codec
    usual = "vp9" if container == "webm" else "h264"
    groups = [own] if encoding.codec else list(dict.fromkeys((own, usual)))
    wrongs = []
    for group in groups:
        try:
            plan = _best(container, group, picture, encoding, target if encoding.codec else None)
        except ValueError as error:
            if encoding.codec:
                raise
            wrongs.append(str(error))
        else:
            return _with_notes(plan, picture, encoding, wrongs)
    raise VideoError(f"{target}: cannot be begun ({'; '.join(wrongs)}); choose another suffix or --codec")


def _best(container: str, group: str, picture: Picture, encoding: Encoding, named: object) -> Plan:
    """The first plan of a group of encoders that works; raises ValueError with the reason, about ``named`` if given."""
    encoders: list[Any] = []
    names = ENCODERS.get(group, (group,))
    if group != (encoding.codec or picture.codec):  # fewer players support RGB than 4:4:4
        names = tuple(name for name in names if name != "libx264rgb")
    for name in names:
        with suppress(ValueError):
            encoder = av.codec.Codec(name, "w")
            if encoder.name not in [other.name for other in encoders]:
                encoders.append(encoder)
    if not encoders:
        if named:
            raise VideoError(f"{named}: this PyAV has no encoder {group}; see: python -m av --codecs")
        raise ValueError(f"this PyAV has no encoder for {group}")
    if encoders[0].type != "video":
        raise VideoError(f"{named}: {group} encodes {encoders[0].type} streams, not video")
    if container == "mpegts" and encoders[0].canonical_name not in MPEGTS:
        wrong = f"PyAV cannot write {encoders[0].canonical_name} into {container}"
        raise VideoError(f"{named}: cannot hold video of the encoder {group}") if named else ValueError(wrong)
    order = [plan for encoder in encoders for plan in plans_for(encoder, picture, encoding, container)]
    order.sort(key=lambda plan: loss(picture.layout, plan.pixels))
    if not named and any(loss(picture.layout, order[0].pixels)[:2]):
        raise ValueError(f"the encoder {order[0].encoder} has fewer colours")
    failures = []
    for plan in order:
        failure = attempt(container, picture, plan)
        if not failure:
            return plan
        failures.append(failure)
        if "format does not support" in failure or "not currently supported in container" in failure:
            wrong = f"PyAV cannot write {encoders[0].canonical_name} into {container}"
            raise VideoError(f"{named}: cannot hold video of the encoder {group}") if named else ValueError(wrong)
    wrong = Counter(failures).most_common(1)[0][0]
    if named:
        hint = "choose another, or another suffix"
        raise VideoError(f"{named}: cannot be begun with the encoder {group} ({wrong}); {hint}")
    raise ValueError(f"a trial in {container} failed ({wrong})")


def _knows_crf(plan: Plan, picture: Picture) -> bool:
    """Whether an encoder takes a constant rate factor: unknown options remain in its context."""
    context = av.CodecContext.create(plan.encoder, "w")
    context.width, context.height = picture.size
    context.pix_fmt, context.time_base, context.options = plan.pixels, Fraction(1, 25), {**plan.options, "crf": "20"}
    with suppress(av.error.FFmpegError):
        context.open()
        return "crf" not in context.options
    return False


def _with_notes(plan: Plan, picture: Picture, encoding: Encoding, wrongs: list[str]) -> Plan:
    """The plan, with notes on what it changes."""
    notes = list(plan.notes)
    if plan.codec != picture.codec and not encoding.codec:
        notes.append(f"{picture.codec} is written as {plan.codec}, since {wrongs[0]}")
    before, after = picture.layout, layout_of(plan.pixels)
    # Whether there was any transparency is only known at the end.
    if replace(before, alpha=False) != replace(after, alpha=False):
        notes.append(f"the picture is written as {replace(after, alpha=False)}; it was {replace(before, alpha=False)}")
    if encoding.crf is not None and not _knows_crf(plan, picture):
        notes.append(f"{plan.encoder} has no rate factor, so {encoding.crf:g} is not used")
    if picture.tags["colorspace"] == RGB and not before.rgb:
        notes.append("the tag of the colour matrix was invalid (that of RGB) and is corrected")
    if before.rgb is False and not after.rgb and picture.tags["color_range"] == LIMITED != plan.tags["color_range"]:
        notes.append(f"the range is written as full, since {plan.encoder} supports no other")
    return replace(plan, notes=tuple(notes))
