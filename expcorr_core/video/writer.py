"""The output file: the corrected picture, and copies of those other streams that survived a rehearsal."""

from __future__ import annotations

import errno
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .colour import FULL, TAGS, UNSPECIFIED, always_full, layout_of, side_data
from .encoder import MPEGTS, Picture, Plan, Track
from .pyav import av, ffmpegs_errors, fraction, open_video, opened, reason
from .reader import Reader, reading
from .tags import kept, kept_chapters, kept_of_stream, missing, tells_place, with_mac_language, with_quicktime

LOOKED_AT = 400  # packets, to find the first ones of copied streams
SHOWN = 10  # packets per stream in a rehearsal: some codecs need several to be detected
LATE = 0.05  # seconds; audio that begins earlier than this is reported
MDTA = {"movflags": "use_metadata_tags"}  # keys of any name; otherwise MOV and MP4 take only a few
# Side data of frames that no encoder here can write, and that are not about the encoding itself.
SIDE_DATA = {
    "A53_CC": "closed captions",
    "SPHERICAL": "the spherical video tag",
    "STEREO3D": "the stereo 3D tag",
    "MASTERING_DISPLAY_METADATA": "mastering display metadata",
    "CONTENT_LIGHT_LEVEL": "content light levels",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "AFD": "the active format description",
    "S12M_TIMECODE": "timecodes of frames",
    "ICC_PROFILE": "the colour profile",
}


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a file has besides the corrected picture.

    Attributes:
        copies: indices of streams that are copied packet by packet.
        covers: those of them that are attached pictures.
        attachments: name, MIME type and contents of files to attach.
        tags: of the file.
        picture_tags: of the picture's stream.
        chapters: as PyAV has them.
        metadata: which tags of streams are kept: ``all``, ``no-gps`` or ``none``.
        options: of the format.
        left_out: what the format cannot hold.
        notes: what else has changed, in sentences.
    """

    copies: tuple[int, ...] = ()
    covers: tuple[int, ...] = ()
    attachments: tuple[tuple[str, str, bytes], ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    picture_tags: dict[str, str] = field(default_factory=dict)
    chapters: tuple[Any, ...] = ()
    metadata: str = "all"
    options: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Writer:
    """A file being written; whoever opened the container closes it."""

    def __init__(self, container: Any, reader: Reader, picture: Picture, plan: Plan, extras: Extras) -> None:
        self.container, self.pixels = container, reader.pixels
        self.plan, self.left_out, self.notes = plan, [*extras.left_out], [*plan.notes, *extras.notes]
        self.track = Track(container, picture, plan)
        self.copies: dict[Any, Any] = {}
        self.covers = extras.covers
        self.last: dict[Any, int] = {}  # time of each copy's last packet
        self.shift = picture.start if plan.times == "even" else Fraction(0)
        self.beside: set[str] = set()  # kinds of side data that frames had
        self.sizes: set[tuple[int, int]] = set()
        self.track.stream.metadata.update(extras.picture_tags)
        self.track.stream.disposition = _value(reader.stream.disposition)
        if layout_of(plan.pixels).alpha and plan.codec in ("vp8", "vp9"):
            self.track.stream.metadata["alpha_mode"] = "1"
        container.metadata.update(extras.tags)
        container.set_chapters([*extras.chapters])
        for stream in reader.container.streams:
            if stream.index in extras.copies:
                self.copies[stream] = self._copied(stream, extras)
        self.sources = {copy.index: stream for stream, copy in self.copies.items()}
        for name, kind, contents in extras.attachments:
            container.add_attachment(name, kind, contents)
        container.start_encoding()

    @property
    def frames(self) -> int:
        """Number of frames written."""
        return self.track.count

    def _copied(self, stream: Any, extras: Extras) -> Any:
        codec = stream.codec_context
        if self.container.format.name == "mpegts" and codec and codec.codec.canonical_name not in MPEGTS:
            raise ValueError(f"mpegts cannot hold {codec.codec.canonical_name}")
        copy = self.container.add_stream_from_template(stream, opaque=True)
        copy.metadata.clear()
        tags = kept_of_stream(stream.metadata, extras.metadata)
        if self.container.format.name == "mov":
            tags = with_mac_language(tags)
        copy.metadata.update(tags)
        copy.disposition = _value(stream.disposition)
        return copy

    def copy(self, packet: Any) -> None:
        """Copy a packet of another stream; a failure ends that stream, with a note."""
        stream = packet.stream
        copy = self.copies.get(stream)
        if copy is None or not packet.size:
            return
        if packet.dts is None:  # attached pictures have no times
            if stream.index not in self.covers:
                return
            packet.pts = packet.dts = 0
        # In the file's own ticks: where these are coarser, two packets could get the same time, which is refused.
        packet.pts = packet.dts if packet.pts is None else packet.pts
        base = fraction(packet.time_base)
        ticks = base / fraction(copy.time_base)
        delay = packet.pts - packet.dts
        dts = max(round((packet.dts - self.shift / base) * ticks), self.last.get(copy, -1 << 62) + 1)
        if copy not in self.last and self.plan.times == "even":
            self._note_delay(stream, float(packet.pts * base - self.shift))
        self.last[copy] = dts
        packet.pts, packet.dts = dts + round(delay * ticks), dts
        packet.duration = round((packet.duration or 0) * ticks)
        packet.time_base, packet.stream = copy.time_base, copy
        try:
            self.container.mux(packet)
        except av.error.FFmpegError as error:
            if error.errno != errno.EINVAL and not isinstance(error, av.error.InvalidDataError):
                raise  # the disk is at fault, not this packet
            del self.copies[stream]
            self.notes.append(f"{_name(stream)} ends early ({reason(error)})")

    def _note_delay(self, stream: Any, seconds: float) -> None:
        if stream.type == "audio" and seconds > LATE:
            self.notes.append(f"AVI has no start times: {_name(stream)} begins {seconds:.2f} s too early")

    def write(self, source: Any, pixels: NDArray[Any]) -> None:
        """Encode a corrected frame with the times of its original."""
        self.beside |= side_data(source, *SIDE_DATA).keys()
        self.sizes.add((source.width, source.height))
        for packet in self.track.encode(pixels, self.pixels, source.pts, source.duration):
            self.container.mux(packet)

    def close(self) -> None:
        """Write the packets still inside the encoder, and the end of the file."""
        for packet in self.track.flush():
            self.container.mux(packet)
        self.container.close()

    def final_notes(self, reader: Reader) -> tuple[str, ...]:
        """What has changed, in sentences, once all frames are written."""
        notes = [*self.notes, *(f"{SIDE_DATA[kind]} in the frames: left out" for kind in sorted(self.beside))]
        if reader.alpha_unseen:
            notes.append("its transparency is left out, since this PyAV has no decoder for it")
        elif reader.transparent and not layout_of(self.plan.pixels).alpha:
            notes.append(f"its transparency is left out: {self.plan.encoder} does not support it in this format")
        if len(self.sizes) > 1:
            notes.append("the frame size changes midway; all frames are written at the size of the first")
        if self.track.shift > max(0.002, 0.5 / float(self.track.rate)):
            moved = f"by up to {self.track.shift:.3f} s"
            notes.append(f"AVI has a constant frame rate, here {float(self.track.rate):g}/s: frames move {moved}")
        return tuple(notes)


def _value(disposition: Any) -> int:
    return int(getattr(disposition, "value", disposition))  # PyAV before 18 takes only integers


def _codec(stream: Any) -> str:
    context = stream.codec_context
    found = (
        context.codec.canonical_name if context else getattr(stream, "name", None) or stream.metadata.get("mimetype")
    )
    return str(found or "")


def _name(stream: Any) -> str:
    return f"{stream.type} stream {stream.index}" + (f" ({_codec(stream)})" if _codec(stream) else "")


def plan_extras(source: Path | io.BytesIO, container: str, picture: Picture, plan: Plan, metadata: str) -> Extras:
    """What a file has besides its picture that another format can hold, found by rehearsals in memory.

    Args:
        source: the file.
        container: FFmpeg's name of the format to write.
        picture: of the file.
        plan: how it is encoded.
        metadata: ``all``, ``no-gps`` or ``none``.
    """
    with reading(source) as reader:
        extras = _wanted(reader, container, metadata)
        firsts = _first_packets(reader, extras) if metadata != "all" else {}
    for index, contents in firsts.items():
        if tells_place(contents):
            gone = f"subtitle stream {index} (reveals locations)"
            extras = _without(extras, index, gone)
    extras, failure = _holdable(source, container, picture, plan, extras)
    if failure:  # then it must be something other than the streams
        for name, poorer in (
            ("timecode", replace(extras, tags=_untimed(extras.tags), picture_tags=_untimed(extras.picture_tags))),
            ("chapters", replace(extras, chapters=())),
            ("attachments", replace(extras, attachments=())),
        ):
            if not _rehearsal(source, container, picture, plan, poorer)[1]:
                extras = replace(poorer, left_out=(*poorer.left_out, name))
                break
    found, _ = _rehearsal(source, container, picture, plan, extras)
    if container in ("mp4", "mov") and found and missing(extras.tags, found.tags):
        richer = replace(extras, options=MDTA, tags=with_quicktime(extras.tags))
        again, _ = _rehearsal(source, container, picture, plan, richer)
        if again and not again.unlike:  # with keys of any name, covers are not possible
            extras, found = richer, again
    return _with_losses(extras, found, container) if found else extras


def _untimed(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key.lower() != "timecode"}


def _without(extras: Extras, index: int, gone: str) -> Extras:
    copies = tuple(other for other in extras.copies if other != index)
    return replace(extras, copies=copies, left_out=(*extras.left_out, gone))


def _wanted(reader: Reader, container: str, metadata: str) -> Extras:
    """Everything to keep, whether or not the format can hold it."""
    copies, covers, attachments, left_out, notes = [], [], [], [], []
    tags, picture_tags = kept(reader.container.metadata, metadata), kept_of_stream(reader.stream.metadata, metadata)
    chapters = kept_chapters(reader.container.chapters(), metadata)
    if tags.pop("xmp", None):  # muxers do not write it where programs look for it
        left_out.append("XMP")
    for stream in reader.container.streams:
        if stream is reader.stream:
            continue
        attached = stream.type == "video" and stream.disposition & av.stream.Disposition.attached_pic
        if attached or stream.type == "attachment":
            contents = bytes(next(reader.packets(stream), b"")) if attached else bytes(stream.data)
            if not contents:
                left_out.append(_name(stream))
            elif metadata != "all" and b"Exif\0\0" in contents:
                left_out.append(f"{_name(stream)}, as it may reveal a location")
            elif container == "matroska":
                name = stream.metadata.get("filename") or f"cover.{'png' if _codec(stream) == 'png' else 'jpg'}"
                kind = stream.metadata.get("mimetype") or f"image/{'png' if _codec(stream) == 'png' else 'jpeg'}"
                attachments.append((name, kind, contents))
            elif attached and container in ("mp4", "mov"):
                copies.append(stream.index)
                covers.append(stream.index)
            else:
                left_out.append(_name(stream))
        elif stream.type == "data":
            timecode = stream.metadata.get("timecode")
            if timecode and metadata != "none":
                picture_tags.setdefault("timecode", timecode)
            elif chapters and _codec(stream) == "bin_data":
                pass  # chapter titles, which are a stream in MOV and MP4
            elif metadata != "all":
                left_out.append(f"{_name(stream)}, as it may reveal locations")
            else:
                copies.append(stream.index)
        elif stream.codec_context is None:
            left_out.append(_name(stream))
        else:
            copies.append(stream.index)
            if stream.type == "video":
                notes.append(f"video stream {stream.index} is copied as it was, not corrected")
    if container == "matroska" and "timecode" in picture_tags:
        tags.setdefault("timecode", picture_tags["timecode"])
    return Extras(
        copies=tuple(copies),
        covers=tuple(covers),
        attachments=tuple(attachments),
        tags=tags,
        picture_tags=picture_tags,
        chapters=tuple(chapters),
        metadata=metadata,
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def _first_packets(reader: Reader, extras: Extras) -> dict[int, bytes]:
    """The first packets of subtitle streams, if they come early."""
    streams = [s for s in reader.container.streams.subtitles if s.index in extras.copies]
    found: dict[int, bytes] = {}
    for packet in islice(reader.packets(*streams), LOOKED_AT) if streams else ():
        found[packet.stream.index] = found.get(packet.stream.index, b"") + bytes(packet)
    return found


def _holdable(
    source: Path | io.BytesIO, container: str, picture: Picture, plan: Plan, extras: Extras
) -> tuple[Extras, str]:
    """The extras without streams that the format cannot hold, and why a rehearsal still fails, if so."""
    found, failure = _rehearsal(source, container, picture, plan, extras)
    if found and not found.unlike:
        return extras, ""
    bare = replace(extras, attachments=(), tags={}, picture_tags={}, chapters=())
    with reading(source) as reader:
        names = {stream.index: _name(stream) for stream in reader.container.streams}
    for index in extras.copies:
        alone, _ = _rehearsal(source, container, picture, plan, replace(bare, copies=(index,)))
        if not alone or alone.unlike:
            extras = _without(extras, index, names[index])
            notes = tuple(note for note in extras.notes if not note.startswith(f"video stream {index} "))
            extras = replace(extras, notes=notes)
    _, failure = _rehearsal(source, container, picture, plan, extras)
    return extras, failure


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What a rehearsal's file has when it is read: as in :class:`Extras`, and whether streams have changed."""

    tags: dict[str, str]
    picture_tags: dict[str, str]
    chapters: int
    streams: list[tuple[str, dict[str, str], int, dict[str, str], int]]
    unlike: bool
    aspect: bool
    colours: list[str]


def _rehearsal(
    source: Path | io.BytesIO, container: str, picture: Picture, plan: Plan, extras: Extras
) -> tuple[_Found | None, str]:
    """Write the beginning of the file in memory and read it; returns what it has, or why this fails."""
    contents = io.BytesIO()
    with ffmpegs_errors() as said, reading(source) as reader:
        try:
            output = open_video(contents, "w", container, extras.options)
            try:
                writer = Writer(output, reader, picture, plan, extras)
                _act(writer, reader, picture)
            finally:
                output.close()
            if failed := [note for note in writer.notes if note.endswith(")") and " ends early (" in note]:
                return None, failed[0]
            with opened(contents, container) as result:
                return _found(result, writer, picture, extras), ""
        except (av.error.FFmpegError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            failure = reason(error)
    return None, said[0] if said else failure


def _act(writer: Writer, reader: Reader, picture: Picture) -> None:
    """Write a few grey frames and the first packets of the streams that are copied."""
    start, step = picture.ticks(writer.track.rate)
    grey = np.full((picture.size[1], picture.size[0], 4), 128, np.uint8)
    for index in range(2):
        for packet in writer.track.encode(grey, "gbrap", start + index * step, step):
            writer.container.mux(packet)
    for packet in writer.track.flush():
        writer.container.mux(packet)
    awaited = Counter({stream.index: SHOWN for stream in writer.copies})
    for packet in _early(reader, [*writer.copies]):
        awaited[packet.stream.index] -= 1
        writer.copy(packet)
        if max(awaited.values()) <= 0:
            return


def _early(reader: Reader, streams: list[Any]) -> Iterator[Any]:
    yield from islice(reader.packets(*streams), LOOKED_AT) if streams else ()


def _found(result: Any, writer: Writer, picture: Picture, extras: Extras) -> _Found:
    pairs, unlike = [], False
    streams = [stream for stream in result.streams if stream.type != "attachment"]
    for index, before in writer.sources.items():
        after = next((stream for stream in streams if stream.index == index), None)
        if after is None or after.type != before.type or _codec(after) != _codec(before):
            unlike = True
            continue
        wanted = kept_of_stream(before.metadata, extras.metadata)
        pairs.append((_name(before), wanted, _value(before.disposition), after.metadata, _value(after.disposition)))
    stream = result.streams.video[0]
    tags, found = writer.plan.tags, stream.codec_context
    colours = [tag for tag in TAGS[:3] if tags[tag] not in (0, UNSPECIFIED, getattr(found, tag))]
    if tags["color_range"] == FULL != found.color_range and not always_full(writer.plan.pixels):
        colours.append("color_range")
    return _Found(
        tags=result.metadata,
        picture_tags=stream.metadata,
        chapters=len(result.chapters()),
        streams=pairs,
        unlike=unlike,
        aspect=abs(float(stream.sample_aspect_ratio or 1) / float(picture.aspect) - 1) < 0.01,
        colours=colours,
    )


def _with_losses(extras: Extras, found: _Found, container: str) -> Extras:
    """The extras, with what the rehearsal's file lacks in ``left_out``."""
    lost = list(extras.left_out)
    tags = dict(found.tags)
    if container == "mpegts" and "title" in extras.tags:
        tags["title"] = extras.tags["title"]  # stored as the service name, which PyAV does not report
    gone = missing(extras.tags, tags)
    of_picture = missing(extras.picture_tags, {**found.tags, **found.picture_tags})
    lost += [f"tag {key}" for key in dict.fromkeys((*gone, *of_picture))]
    if len(extras.chapters) > found.chapters:
        lost.append("chapters")
    for name, wanted, before, tags, after in found.streams:
        # Tags that the file itself does not have; it may omit fractions of seconds.
        own = {key: value for key, value in wanted.items() if extras.tags.get(key, "")[:19] != value[:19]}
        lost += [f"tag {key} of {name}" for key in missing(own, tags)]
        roles = [role.name for role in av.stream.Disposition if role.value & before & ~after & ~1 and role.name]
        lost += [f"note of {name} that it is {role.replace('_', ' ')}" for role in roles]
    if not found.aspect:
        lost.append("the pixel aspect ratio")
    if found.colours:
        lost.append("colour tags (" + ", ".join(tag.replace("color_", "") for tag in found.colours) + ")")
    return replace(extras, left_out=tuple(lost))
