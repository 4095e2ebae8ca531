"""One record's fields: a tf.train.Example, or a JSON object; neither needs TensorFlow, and nothing is unpickled."""

import functools
from collections.abc import Mapping
from typing import Any

from jax_tda.data import json_lines, plain_values, records
from jax_tda.data.rows import Wanted

# Of field 1 (features), a message: what every Example that holds something begins with.
_EXAMPLE = b"\x0a"


@functools.cache
def _example_class() -> Any:
    """The message tf.train.Example, declared here as tensorflow/core/example/example.proto declares it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="records", syntax="proto3")

    def message(name: str, parent: Any = file.message_type) -> Any:
        return parent.add(name=name)

    def field(owner: Any, name: str, number: int, type_: Any, type_name: str = "", repeated: bool = False) -> Any:
        label = kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL
        return owner.field.add(name=name, number=number, type=type_, type_name=type_name or None, label=label)

    for name, type_ in (("BytesList", kind.TYPE_BYTES), ("FloatList", kind.TYPE_FLOAT), ("Int64List", kind.TYPE_INT64)):
        field(message(name), "value", 1, type_, repeated=True)
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), start=1):
        type_name = f".records.{''.join(word.capitalize() for word in name.split('_'))}"
        field(feature, name, number, kind.TYPE_MESSAGE, type_name).oneof_index = 0
    features = message("Features")
    entry = message("FeatureEntry", features.nested_type)
    entry.options.map_entry = True
    field(entry, "key", 1, kind.TYPE_STRING)
    field(entry, "value", 2, kind.TYPE_MESSAGE, ".records.Feature")
    field(features, "feature", 1, kind.TYPE_MESSAGE, ".records.Features.FeatureEntry", repeated=True)
    field(message("Example"), "features", 1, kind.TYPE_MESSAGE, ".records.Features")
    pool = descriptor_pool.DescriptorPool()  # Not the one of all, in which TensorFlow declares its own.
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("records.Example"))


def row(record: bytes, wanted: Wanted, where: str) -> Mapping[str, Any]:
    """The wanted fields of one record; a feature of one value is that value, any other the list of its values.

    Raises:
      Rejected: it is neither an Example nor a JSON object.
    """
    if record.lstrip()[:1] == b"{":
        return json_lines.row(record, where)
    if record[:1] not in (_EXAMPLE, b""):
        raise records.Rejected(
            where, "record of another form", got=f"{record[:40]!r}", expected="a tf.train.Example or a JSON object"
        )
    try:
        features = _example_class().FromString(record).features.feature
    except Exception as problem:  # DecodeError, whose module differs between protobuf's releases.
        raise records.Rejected(where, "broken tf.train.Example", got=str(problem), expected="a whole one") from None
    found = {}
    for name, feature in features.items():
        if not wanted(name):
            continue
        held = feature.WhichOneof("kind")
        values = list(getattr(feature, held).value) if held else []
        found[name] = plain_values.plain(values[0] if len(values) == 1 else values, name, where)
    return found
