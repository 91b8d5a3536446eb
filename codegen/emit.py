"""Turn one schema table into the Python source of its class.

Runs of fixed-size fields that exist in the same versions become one `struct` call; a field that
only some versions have stands in an `if version …` whose condition is left out where it cannot be
false.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from schema import FIXED, NO_VERSIONS, VARIABLE, Field, Message, Struct, Versions

LINE_LENGTH = 100
ARRAY_WRITERS = {"string": "write_strings", "bytes": "write_bytes_array", "uuid": "write_uuids"}

# Values that must not appear in a repr: (struct, field) as named in the schema.
SECRETS = {
    ("SaslAuthenticateRequest", "AuthBytes"),
    ("SaslAuthenticateResponse", "AuthBytes"),
    ("ScramCredentialUpsertion", "Salt"),
    ("ScramCredentialUpsertion", "SaltedPassword"),
    ("CreateDelegationTokenResponse", "Hmac"),
    ("DescribedDelegationToken", "Hmac"),
    ("RenewDelegationTokenRequest", "Hmac"),
    ("ExpireDelegationTokenRequest", "Hmac"),
    ("AlterableConfig", "Value"),
}


def condition(versions: Versions, context: Versions) -> str:
    """Return the test that `version`, known to be in `context`, is in `versions`, as source."""
    inside = versions & context
    if inside.empty:
        return "False"
    if context in inside:
        return "True"
    if inside.low <= context.low:
        return f"version <= {inside.high}"
    if inside.high >= context.high:
        return f"version >= {inside.low}"
    if inside.low == inside.high:
        return f"version == {inside.low}"
    return f"{inside.low} <= version <= {inside.high}"


def call(indent: int, head: str, arguments: list[str]) -> list[str]:
    """Return `head(arguments)` as lines, wrapped as the formatter would."""
    pad = " " * indent
    line = f"{pad}{head}({', '.join(arguments)})"
    if len(line) <= LINE_LENGTH:
        return [line]
    inner = f"{pad}    {', '.join(arguments)}"
    if len(inner) <= LINE_LENGTH:
        return [f"{pad}{head}(", inner, f"{pad})"]
    return [f"{pad}{head}(", *(f"{pad}    {item}," for item in arguments), f"{pad})"]


def assignment(indent: int, target: str, value: str) -> list[str]:
    """Return `target = value` as lines, wrapped as the formatter would."""
    pad = " " * indent
    line = f"{pad}{target} = {value}"
    if len(line) <= LINE_LENGTH:
        return [line]
    return [f"{pad}{target} = (", f"{pad}    {value}", f"{pad})"]


class ClassEmitter:
    """Emits one class; `layouts` and `imports` collect what the module must define before it."""

    def __init__(
        self, struct: Struct, message: Message, layouts: dict[str, str], imports: set[str]
    ) -> None:
        self.struct = struct
        self.message = message
        self.layouts = layouts
        self.imports = imports
        self.context = struct.context
        self.fields = [
            entry for entry in struct.fields if not (entry.versions & self.context).empty
        ]
        self.flexible = condition(message.flexible, self.context)
        self.flexible_name = "flexible" if "version" in self.flexible else self.flexible

    def lines(self) -> list[str]:
        return [*self.head(), *self.init(), "", *self.reader(), "", *self.writer()]

    # -- declaration -------------------------------------------------------------------------------

    def head(self) -> Iterator[str]:
        struct, message = self.struct, self.message
        is_message = struct is message.root
        yield f"class {struct.name}({self.use('Message' if is_message else 'Struct')}):"
        low = "" if message.flexible.empty else f", flexible from {message.flexible.low}"
        if is_message:
            yield f'    """{struct.name}, versions {message.valid}{low}."""'
        else:
            yield f'    """Part of {message.root.name}, versions {self.context}."""'
        yield ""
        if is_message:
            flexible_from = None if message.flexible.empty else message.flexible.low
            yield f"    API_KEY = {message.api_key}"
            yield f'    NAME = "{struct.json_name}"'
            yield f"    MIN_VERSION = {message.valid.low}"
            yield f"    MAX_VERSION = {message.valid.high}"
            yield f"    FLEXIBLE_FROM = {flexible_from}"
            yield f"    LATEST_UNSTABLE = {message.latest_unstable}"
            yield ""
        yield from self.slots()
        secrets = [e.name for e in self.fields if (struct.json_name, e.json_name) in SECRETS]
        if secrets:
            yield f"    _REDACTED = frozenset({{{', '.join(map(quoted, secrets))}}})"
        yield ""
        for entry in self.fields:
            yield f"    {entry.name}: {self.annotation(entry, 'list')}  # {self.remark(entry)}"
        if self.fields:
            yield ""

    def slots(self) -> list[str]:
        names = [quoted(entry.name) for entry in self.fields]
        if len(names) < 2:
            return [f"    __slots__ = ({''.join(name + ',' for name in names)})"]
        line = f"    __slots__ = ({', '.join(names)})"
        if len(line) <= LINE_LENGTH:
            return [line]
        return ["    __slots__ = (", *(f"        {name}," for name in names), "    )"]

    def annotation(self, entry: Field, array: str) -> str:
        if entry.struct:
            inner = entry.struct.name
        elif entry.element in FIXED:
            inner = FIXED[entry.element].python
        else:
            inner = VARIABLE[entry.element]
        if inner == "Records":
            self.use(inner)
        if entry.is_array:
            inner = f"{array}[{inner}]"
        return inner + " | None" if self.can_be_null(entry) else inner

    def can_be_null(self, entry: Field) -> bool:
        return entry.default is None or not (entry.nullable & entry.versions & self.context).empty

    def remark(self, entry: Field) -> str:
        parts = [] if entry.struct else [entry.type]
        parts.append(str(entry.versions))
        if not entry.nullable.empty:
            parts.append(f"nullable {entry.nullable}")
        if entry.tag is not None:
            parts.append(f"tag {entry.tag} in {entry.tagged}")
        if entry.never_flexible:
            parts.append("never compact")
        if entry.default not in (0, False, "", b"", 0.0, bytes(16), None, []) and not entry.struct:
            parts.append(f"default {entry.default!r}")
        if entry.ignorable:
            parts.append("ignorable")
        if entry.entity:
            parts.append(entry.entity)
        return ", ".join(parts)

    def init(self) -> Iterator[str]:
        if not self.fields:
            yield "    def __init__(self) -> None:"
        else:
            yield "    def __init__("
            yield "        self,"
            yield "        *,"
            for entry in self.fields:
                annotation = self.annotation(entry, self.use("Sequence") if entry.is_array else "")
                yield f"        {self.parameter(entry, annotation)},"
            yield "    ) -> None:"
        for entry in self.fields:
            yield from assignment(8, f"self.{entry.name}", self.taken(entry))
        yield "        self._unknown_tags = None"

    def parameter(self, entry: Field, annotation: str) -> str:
        if isinstance(entry.default, Struct):
            return f"{entry.name}: {annotation.removesuffix(' | None')} | None = None"
        default = "()" if entry.default == [] and entry.is_array else self.literal(entry)
        return f"{entry.name}: {annotation} = {default}"

    def taken(self, entry: Field) -> str:
        if entry.is_array:
            made = f"list({entry.name})"
            return f"None if {entry.name} is None else {made}" if self.can_be_null(entry) else made
        if isinstance(entry.default, Struct):
            return f"{entry.default.name}() if {entry.name} is None else {entry.name}"
        return entry.name

    def literal(self, entry: Field) -> str:
        """Return the default as source; a new list or struct each time."""
        if isinstance(entry.default, Struct):
            return f"{entry.default.name}()"
        if entry.type == "uuid":
            return self.use("ZERO_UUID")
        if isinstance(entry.default, str):
            return quoted(entry.default)
        return repr(entry.default).replace("b''", 'b""')

    def is_set(self, entry: Field) -> str:
        """Return the test that a field differs from its default."""
        value = f"self.{entry.name}"
        if entry.default is None:
            return f"{value} is not None"
        if entry.is_array:
            return f"{value} is None or {value}" if self.can_be_null(entry) else value
        if isinstance(entry.default, bool):
            return f"not {value}" if entry.default else value
        return f"{value} != {self.literal(entry)}"

    # -- reading -----------------------------------------------------------------------------------

    def reader(self) -> Iterator[str]:
        self.use("Self")
        yield "    @classmethod"
        yield "    def _read(cls, buf: bytes, pos: int, version: int) -> tuple[Self, int]:"
        if self.flexible_name == "flexible":
            yield f"        flexible = {self.flexible}"
        yield "        self = cls.__new__(cls)"
        for test, entries in self.groups():
            if test == "False":
                yield from self.defaults(entries, 8)
            elif test == "True":
                yield from self.read_run(entries, 8)
            else:
                yield f"        if {test}:"
                yield from self.read_run(entries, 12)
                yield "        else:"
                yield from self.defaults(entries, 12)
        yield from self.read_tag_section()
        yield "        return self, pos"

    def groups(self) -> Iterator[tuple[str, list[Field]]]:
        """Yield the fields in wire order, together where they stand in the same versions."""
        for test, entries in groupby(
            self.fields, lambda entry: condition(untagged(entry), self.context)
        ):
            yield test, list(entries)

    def defaults(self, entries: list[Field], indent: int) -> Iterator[str]:
        for entry in entries:
            yield f"{' ' * indent}self.{entry.name} = {self.literal(entry)}"

    def read_run(self, entries: list[Field], indent: int) -> Iterator[str]:
        for fixed, run in groupby(entries, lambda entry: entry.is_fixed):
            if fixed:
                yield from self.read_fixed(list(run), indent)
            else:
                for entry in run:
                    yield from self.read_one(entry, indent, "buf", "pos", self.flexible_name)

    def read_fixed(self, entries: list[Field], indent: int) -> Iterator[str]:
        pad = " " * indent
        layout = self.layout(entries)
        targets = ", ".join(f"self.{entry.name}" for entry in entries)
        if len(entries) == 1:
            targets = f"({targets},)"
        line = f"{pad}{targets} = {layout}.unpack_from(buf, pos)"
        if len(line) <= LINE_LENGTH:
            yield line
        else:
            yield f"{pad}("
            for entry in entries:
                yield f"{pad}    self.{entry.name},"
            yield f"{pad}) = {layout}.unpack_from(buf, pos)"
        yield f"{pad}pos += {sum(FIXED[entry.type].size for entry in entries)}"

    def layout(self, entries: list[Field]) -> str:
        letters = "".join(FIXED[entry.type].letter for entry in entries)
        name = "_" + letters.replace("?", "t").replace("16s", "u")
        self.layouts[name] = f">{letters}"
        return name

    def read_one(self, entry: Field, indent: int, buf: str, pos: str, flexible: str) -> list[str]:
        """Return the lines that read a field of variable size, or any in a tag, from `buf`."""
        flexible = "False" if entry.never_flexible else flexible
        place = ["buf", "pos"] if buf == "buf" else [buf, "0"]
        head = f"self.{entry.name}, {pos} = "
        nullable = self.nullable(entry)
        start, extra = ("read_", []) if nullable == "False" else ("read_nullable_", [nullable])
        if entry.is_array:
            return call(indent, *self.array_reader(entry, head + start, place, flexible, extra))
        if entry.struct:
            if nullable == "False":
                return call(indent, f"{head}{entry.struct.name}._read", [*place, "version"])
            reader = self.use(
                "read_nullable_struct" if buf == "buf" else "read_nullable_tagged_struct"
            )
            return call(indent, head + reader, [*place, "version", f"{entry.struct.name}._read"])
        if entry.is_fixed:
            layout = self.layout([entry])
            size = FIXED[entry.type].size
            pad = " " * indent
            return [
                f"{pad}(self.{entry.name},) = {layout}.unpack_from({', '.join(place)})",
                f"{pad}{pos} = {size}",
            ]
        kind = "string" if entry.type == "string" else "bytes"
        return call(indent, head + self.use(start + kind), [*place, flexible, *extra])

    def array_reader(
        self, entry: Field, head: str, place: list[str], flexible: str, extra: list[str]
    ) -> tuple[str, list[str]]:
        prefix = head[head.rindex(" ") + 1 :]
        arguments = [*place, flexible, *extra]
        if entry.element in FIXED and entry.element != "uuid":
            self.use(prefix + "numbers")
            return head + "numbers", [*arguments, quoted(FIXED[entry.element].letter)]
        self.use(prefix + "array")
        if entry.struct:
            size = str(min_bytes(entry.struct, self.message))
            return head + "array", [*arguments, size, f"{entry.struct.name}._read", "version"]
        if entry.element == "uuid":
            return head + "array", [*arguments, "16", self.use("read_uuid"), flexible]
        return head + "array", [*arguments, "1", self.use(f"read_{entry.element}"), flexible]

    def nullable(self, entry: Field) -> str:
        """Return the test that the field may be null, given that it exists."""
        return condition(entry.nullable, entry.versions & self.context)

    def read_tag_section(self) -> Iterator[str]:
        if self.flexible == "False":
            yield "        self._unknown_tags = None"
            return
        indent = 8
        if self.flexible_name == "flexible":
            yield "        self._unknown_tags = None"
            yield "        if flexible:"
            indent = 12
        pad = " " * indent
        self.use("read_tags")
        tagged = self.tagged()
        if not tagged:
            yield f"{pad}self._unknown_tags, pos = read_tags(buf, pos)"
            return
        self.use("end_of_tag")
        yield f"{pad}tags, pos = read_tags(buf, pos)"
        yield f"{pad}if tags:"
        for entry in tagged:
            test = condition(entry.tagged & entry.versions, self.message.flexible & self.context)
            gate = "" if test == "True" else f"{test} and "
            yield f"{pad}    if {gate}(payload := tags.pop({entry.tag}, None)) is not None:"
            yield from self.read_one(entry, indent + 8, "payload", "end", "True")
            yield f"{pad}        end_of_tag(payload, end, {entry.tag})"
        yield f"{pad}self._unknown_tags = tags or None"

    def tagged(self) -> list[Field]:
        """Return the fields that are tagged in some version, by tag."""
        found = [e for e in self.fields if not (e.tagged & e.versions & self.context).empty]
        return sorted(found, key=lambda entry: entry.tag or 0)

    # -- writing -----------------------------------------------------------------------------------

    def writer(self) -> Iterator[str]:
        yield "    def _write(self, out: bytearray, version: int) -> None:"
        if self.flexible_name == "flexible":
            yield f"        flexible = {self.flexible}"
        for test, entries in self.groups():
            if test == "True":
                yield from self.write_run(entries, 8)
            else:
                yield from self.write_gated(test, entries)
        yield from self.write_tag_section()

    def write_gated(self, test: str, entries: list[Field]) -> Iterator[str]:
        """Write fields that only some versions have; one that is set and missing is refused."""
        refused = [
            e for e in entries if not e.ignorable and condition(e.versions, self.context) != "True"
        ]
        if test != "False":
            yield f"        if {test}:"
            yield from self.write_run(entries, 12)
        for entry in refused:
            self.use("unsupported")
            outside = negated(condition(entry.versions, self.context))
            set_test = self.is_set(entry)
            if " or " in set_test:
                set_test = f"({set_test})"
            yield f"        if {outside} and {set_test}:"
            yield f"            raise unsupported({quoted(entry.name)}, version)"

    def write_run(self, entries: list[Field], indent: int) -> Iterator[str]:
        for fixed, run in groupby(entries, lambda entry: entry.is_fixed):
            if fixed:
                yield from self.write_fixed(list(run), indent, "out")
            else:
                for entry in run:
                    yield from self.write_one(entry, indent, "out", self.flexible_name)

    def write_fixed(self, entries: list[Field], indent: int, out: str) -> list[str]:
        values = [
            f"{self.use('checked_uuid')}(self.{entry.name}, {quoted(entry.name)})"
            if entry.type == "uuid"
            else f"self.{entry.name}"
            for entry in entries
        ]
        return call(indent, f"{out} += {self.layout(entries)}.pack", values)

    def write_one(self, entry: Field, indent: int, out: str, flexible: str) -> list[str]:
        """Return the lines that write one field to `out`."""
        flexible = "False" if entry.never_flexible else flexible
        if entry.is_fixed:
            return self.write_fixed([entry], indent, out)
        value, name = f"self.{entry.name}", quoted(entry.name)
        nullable = self.nullable(entry)
        if entry.is_array:
            if entry.struct:
                arguments = [out, value, "version", flexible, nullable, name]
                return call(indent, self.use("write_structs"), arguments)
            if entry.element in ARRAY_WRITERS:
                writer = self.use(ARRAY_WRITERS[entry.element])
                return call(indent, writer, [out, value, flexible, nullable, name])
            letter = quoted(FIXED[entry.element].letter)
            arguments = [out, value, flexible, nullable, letter, name]
            return call(indent, self.use("write_numbers"), arguments)
        if entry.struct:
            if nullable == "False":
                return call(indent, self.use("write_struct"), [out, value, "version", name])
            writer = "write_nullable_struct" if out == "out" else "write_nullable_tagged_struct"
            return call(indent, self.use(writer), [out, value, "version", nullable, name])
        writer = self.use("write_string" if entry.type == "string" else "write_bytes")
        return call(indent, writer, [out, value, flexible, nullable, name])

    def write_tag_section(self) -> Iterator[str]:
        if self.flexible == "False":
            yield "        if self._unknown_tags:"
            yield f'            raise {self.use("unsupported")}("_unknown_tags", version)'
            return
        pad = " " * 8
        self.use("write_tags")
        if self.flexible_name == "flexible":
            yield "        if flexible:"
            pad = " " * 12
        tagged = self.tagged()
        if tagged:
            yield f"{pad}tags: dict[int, bytearray] = {{}}"
        for entry in tagged:
            test = condition(entry.tagged & entry.versions, self.message.flexible & self.context)
            set_test = self.is_set(entry)
            if test != "True":
                set_test = (
                    f"{test} and ({set_test})" if " or " in set_test else f"{test} and {set_test}"
                )
            yield f"{pad}if {set_test}:"
            yield f"{pad}    tags[{entry.tag}] = payload = bytearray()"
            yield from self.write_one(entry, len(pad) + 4, "payload", "True")
        yield f"{pad}write_tags(out, {'tags' if tagged else '{}'}, self._unknown_tags)"
        if self.flexible_name == "flexible":
            yield "        elif self._unknown_tags:"
            yield f'            raise {self.use("unsupported")}("_unknown_tags", version)'

    def use(self, name: str) -> str:
        """Note that the module imports `name`."""
        self.imports.add(name)
        return name


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def negated(test: str) -> str:
    """Return the opposite of a condition of `condition`."""
    left, _, right = test.partition(" ")
    operator, _, number = right.partition(" ")
    opposite = {">=": "<", "<=": ">", "==": "!="}
    if left == "version" and operator in opposite:
        return f"version {opposite[operator]} {number}"
    return "True" if test == "False" else f"not {test}"


def untagged(entry: Field) -> Versions:
    """Return the versions in which the field stands in the body, not in the tag section."""
    if entry.tagged.empty:
        return entry.versions
    if entry.tagged.low <= entry.versions.low:
        return NO_VERSIONS
    return Versions(entry.versions.low, entry.tagged.low - 1)


def min_bytes(struct: Struct, message: Message) -> int:
    """Return the size that no value of the struct goes below in any version, at least 1."""
    context = struct.context
    sizes = [_size_in(struct, message, version) for version in range(context.low, context.high + 1)]
    return max(1, min(sizes))


def _size_in(struct: Struct, message: Message, version: int) -> int:
    here = Versions(version, version)
    flexible = here in message.flexible
    size = 1 if flexible else 0
    for entry in struct.fields:
        if here not in untagged(entry):
            continue
        if entry.is_fixed:
            size += FIXED[entry.type].size
        elif entry.is_array or entry.type in ("bytes", "records"):
            size += 1 if flexible else 4
        elif entry.type == "string":
            size += 1 if flexible and not entry.never_flexible else 2
        elif here in entry.nullable:
            size += 1
        elif entry.struct:
            size += _size_in(entry.struct, message, version)
    return size
