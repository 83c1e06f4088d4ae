"""Write the reference from the code: `python docs/reference/generate.py` writes the pages that lie beside it.

All words come from docstrings, comments and the OpenAPI document. A test holds the committed pages to what
this writes.
"""

import ast
import inspect
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from prometheus_client import CollectorRegistry

from service.engine import Engine
from service.kserve.servers import make_http
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.transports.frontend import Frontend

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PUBLIC = ("model", "model.exported", "depth_client")
"""Whose public names a program may use; those that are not there yet are left out."""
_NOTE = "<!-- Written by docs/reference/generate.py from {}; edit that. -->\n"
_METHODS = ("get", "post", "put", "delete")


# Settings


def settings_page() -> str:
    """Write what an operator may set."""
    source = (ROOT / "service" / "settings.py").read_text()
    lines = source.splitlines()
    body = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)).body
    out = [
        "# Settings",
        "",
        _NOTE.format("service/settings.py"),
        "Environment variables, or lines of an `.env` file in the folder from which the service is started.",
    ]
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if (heading := re.fullmatch(r"    # (\w[\w ]*)", lines[node.lineno - 2])) is not None:
            out += [
                "",
                f"## {heading[1]}",
                "",
                "| variable | values | default | |",
                "| --- | --- | --- | --- |",
            ]
        name = node.target.id
        cells = (
            f"`DEPTH_{name.upper()}`",
            _code(_values(node.annotation)),
            _code(_default(name)),
            _text(after),
        )
        out.append(f"| {' | '.join(cells)} |")
    return _page(out)


def _values(annotation: ast.expr) -> str:
    text = ast.unparse(annotation).replace(" | None", "")
    if literal := re.fullmatch(r"Literal\[(.*)]", text):
        return literal[1].replace("'", "").replace(", ", " ")
    kinds = {
        "Annotated[tuple[str, ...], NoDecode]": "texts with commas between",
        "Path": "path",
        "str": "text",
        "SecretStr": "text",
        "bool": "true false",
        "Port": "0 to 65535",
        "PositiveInt": "whole number above 0",
        "PositiveFloat": "number above 0",
        "NonNegativeFloat": "number from 0",
    }
    return kinds.get(text, text)


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    if isinstance(value, Path):
        return str(value.relative_to(ROOT))
    return "" if value in (None, ()) else str(value).lower() if isinstance(value, bool) else str(value)


# HTTP


def http_page() -> str:
    """Write what can be asked over HTTP."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(_env_file=None, models=Path(folder), backend="simulated")
        metrics = Metrics(CollectorRegistry())
        app = make_http(Frontend(Engine(settings, metrics), settings, metrics), version="1", admin_key="key")
        document = app.openapi()
    out = [
        "# HTTP",
        "",
        _NOTE.format("the OpenAPI document"),
        "The same document is shown by a running service at `/docs`, and answered by it at `/openapi.json`.",
    ]
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                out += ["", f"## {method.upper()} {path}", "", *_operation(methods[method])]
    return _page(out)


def _operation(operation: dict[str, Any]) -> Iterator[str]:
    said = (operation.get("summary", ""), operation.get("description", ""))
    yield from (_sentence(text) for text in said if text)
    parameters = operation.get("parameters", [])
    if parameters:
        yield from ("", "| parameter | in | values | |", "| --- | --- | --- | --- |")
    for parameter in parameters:
        schema = parameter.get("schema", {})
        values = " ".join(map(str, schema.get("enum", (schema.get("type", "text"),))))
        yield f"| `{parameter['name']}` | {parameter['in']} | {values} | {parameter.get('description', '')} |"
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        yield from ("", "Body: " + ", ".join(f"`{kind}`" for kind in content) + ".")
    yield from ("", "| status | | headers |", "| --- | --- | --- |")
    for status, response in operation["responses"].items():
        headers = " ".join(f"`{name}`" for name in response.get("headers", {}))
        yield f"| {status} | {response.get('description', '')} | {headers} |"


# gRPC


def grpc_page() -> str:
    """Write what can be asked over gRPC, in the words of the .proto files' comments."""
    out = ["# gRPC", "", _NOTE.format("proto/*.proto")]
    for path in sorted((ROOT / "proto").glob("*.proto")):
        file = _compiled(path)
        comments = {tuple(place.path): place for place in file.source_code_info.location}
        out += [f"Package `{file.package}`, in [`proto/{path.name}`](../../proto/{path.name})."]
        for index, service in enumerate(file.service):
            out += [
                "",
                f"## service {service.name}",
                "",
                "| call | takes | answers | |",
                "| --- | --- | --- | --- |",
            ]
            for number, call in enumerate(service.method):
                takes = "stream " * call.client_streaming + _bare(call.input_type)
                answers = "stream " * call.server_streaming + _bare(call.output_type)
                about = _comment(comments, (6, index, 2, number))
                out.append(f"| `{call.name}` | `{takes}` | `{answers}` | {about} |")
        for index, enum in enumerate(file.enum_type):
            out += _enum(enum, (5, index), comments)
        for index, message in enumerate(file.message_type):
            out += _message(message, (4, index), comments, "")
        out.append("")
    return _page(out)


def _compiled(path: Path) -> descriptor_pb2.FileDescriptorProto:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "set"
        arguments = ["protoc", f"-I{path.parent}", "--include_source_info", f"--descriptor_set_out={result}"]
        if protoc.main([*arguments, str(path)]):
            raise SystemExit(f"protoc cannot read {path}")
        files = descriptor_pb2.FileDescriptorSet.FromString(result.read_bytes()).file
    return next(file for file in files if file.name == path.name)


def _comment(comments: dict[tuple[int, ...], Any], place: tuple[int, ...]) -> str:
    found = comments.get(place)
    text = "" if found is None else found.leading_comments + " " + found.trailing_comments
    return " ".join(text.split()).replace("|", "\\|")


def _enum(enum: Any, place: tuple[int, ...], comments: dict[tuple[int, ...], Any]) -> list[str]:
    out = ["", f"## enum {enum.name}", "", _comment(comments, place), "", "| value | |", "| --- | --- |"]
    for number, value in enumerate(enum.value):
        out.append(f"| `{value.name}` = {value.number} | {_comment(comments, (*place, 2, number))} |")
    return out


def _message(
    message: Any, place: tuple[int, ...], comments: dict[tuple[int, ...], Any], outer: str
) -> list[str]:
    name = outer + message.name
    out = ["", f"## message {name}", "", _comment(comments, place)]
    if message.field:
        out += ["", "| field | type | |", "| --- | --- | --- |"]
    for number, field in enumerate(message.field):
        about = _comment(comments, (*place, 2, number))
        if field.HasField("oneof_index") and not field.proto3_optional:
            about = f"{about} One of `{message.oneof_decl[field.oneof_index].name}`.".strip()
        out.append(f"| `{field.name}` = {field.number} | `{_type(message, field)}` | {about} |")
    for number, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            out += _message(nested, (*place, 3, number), comments, f"{name}.")
    return out


def _type(message: Any, field: Any) -> str:
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    if field.type_name and _bare(field.type_name) in entries:
        key, value = entries[_bare(field.type_name)].field
        return f"map<{_type(message, key)}, {_type(message, value)}>"
    name = _bare(field.type_name) or descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)[5:].lower()
    repeated = field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    return f"repeated {name}" if repeated else f"optional {name}" if field.proto3_optional else name


def _bare(name: str) -> str:
    return name.rsplit(".", 1)[-1]


# Python


def python_page() -> str:
    """Write what a program may import, in the words of the docstrings."""
    out = [
        "# Python",
        "",
        _NOTE.format("docstrings"),
        "What stands here may be relied on; whatever else there is may change.",
    ]
    for package in PUBLIC:
        if find_spec(package) is None:
            continue
        module = import_module(package)
        names = getattr(module, "__all__", None) or _own_names(module)
        out += ["", f"## {package}", "", _first(module.__doc__)]
        for name in names:
            out += _python(name, getattr(module, name))
    return _page(out)


def _own_names(module: Any) -> list[str]:
    here = vars(module).items()
    return [name for name, it in here if getattr(it, "__module__", "") == module.__name__ and name[0] != "_"]


def _python(name: str, it: Any) -> list[str]:
    if not (inspect.isclass(it) or inspect.isfunction(it)):
        return ["", f"### {name}", "", f"`{it}`"]
    node = ast.parse(inspect.cleandoc("\n" + inspect.getsource(it))).body[0]
    doc = inspect.cleandoc(it.__doc__ or "")
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return ["", f"### {name}", "", *_python_block(_signature(node)), "", *_docstring(doc)]
    if not isinstance(node, ast.ClassDef):
        raise SystemExit(f"{name} is neither a class nor a function")
    out = ["", f"### {name}", ""]
    functions = {
        inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if "__init__" in functions:
        out += [*_python_block(_signature(functions["__init__"], name)), ""]
    out += _docstring(doc)
    fields = [
        inner
        for inner in node.body
        if isinstance(inner, ast.AnnAssign) and ast.unparse(inner.target)[0] != "_"
    ]
    if fields:
        out += ["", "| field | type | default | |", "| --- | --- | --- | --- |"]
    for field in fields:
        after = node.body[node.body.index(field) + 1 :]
        default = "" if field.value is None else ast.unparse(field.value)
        cells = (_code(ast.unparse(field.target)), _code(ast.unparse(field.annotation)), _code(default))
        out.append(f"| {' | '.join(cells)} | {_text(after[0] if after else None)} |")
    for inner in functions.values():
        if not inner.name.startswith("_"):
            about = inspect.cleandoc(ast.get_docstring(inner) or "")
            out += ["", *_python_block(_signature(inner)), "", *_docstring(about)]
    return out


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> str:
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    arguments = re.sub(r"^\*, ", "*, ", arguments)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and not name else ""
    kinds = {ast.unparse(decorator) for decorator in node.decorator_list}
    if "property" in kinds:
        return f"{node.name}{returns}"
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{prefix}{name or node.name}({arguments}){returns}"


def _python_block(code: str) -> list[str]:
    return ["```text", code, "```"]


def _docstring(text: str) -> list[str]:
    """Turn a docstring's sections into Markdown: an entry of Args or Raises becomes an item."""
    out: list[str] = []
    inside = False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields):", line):
            inside = True
            out += [f"**{line[:-1]}**", ""] if not out or out[-1] == "" else ["", f"**{line[:-1]}**", ""]
        elif inside and (entry := re.fullmatch(r" {4}(\*{0,2}\w+): (.*)", line)):
            out.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            out.append(f"  {line.strip()}" if inside and line.startswith("        ") else line.strip())
    return [re.sub(r":\w+:`~?([^`]+)`", r"`\1`", line).replace("``", "`") for line in out]


# What all pages are made of


def _text(node: ast.stmt | None) -> str:
    """Return the string that follows a field, as one line."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        text = " ".join(node.value.value.split()).replace("|", "\\|")
        return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return ""


def _first(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?")) else f"{text}."


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _page(lines: list[str]) -> str:
    text = "\n".join(line.rstrip() for line in lines).strip() + "\n"
    return re.sub(r"\n{3,}", "\n\n", text)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "http.md": http_page,
    "grpc.md": grpc_page,
    "python.md": python_page,
}


def main() -> None:
    """Write every page, and say where."""
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
