"""The page of the API at /api/docs, rendered here from the schema: no foreign host, no script."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase


class Reference(DocsBase):
    """Lists every operation with its parameters and answers."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        """Return the page."""
        schema = api.get_openapi_schema(path_params=kwargs)
        shapes = schema["components"]["schemas"]
        operations = [
            _operation(path, method, told)
            for path, methods in schema["paths"].items()
            for method, told in methods.items()
        ]
        page = {
            "info": schema["info"],
            "openapi_url": self.get_openapi_url(api, kwargs),
            "groups": _grouped(operations),
            "shapes": [_shape(name, told) for name, told in sorted(shapes.items())],
        }
        return render(request, "botcrypto/reference.html", page)


def _grouped(operations: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for operation in operations:
        found.setdefault(operation["group"], []).append(operation)
    return found


def _operation(path: str, method: str, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": path,
        "method": method.upper(),
        "is_link": method == "get" and "{" not in path,
        "anchor": told["operationId"],
        "group": (told.get("tags") or ["other"])[0],
        "about": told.get("description", told["summary"]),
        "parameters": [_parameter(item) for item in told.get("parameters", [])],
        "body": _answer(told["requestBody"]) if "requestBody" in told else "",
        "needs_key": bool(told.get("security")),
        "answers": [
            {"status": status, "shape": _answer(item), "about": item.get("description", "")}
            for status, item in told["responses"].items()
        ],
    }


def _parameter(told: dict[str, Any]) -> dict[str, Any]:
    kind = told["schema"]
    return {
        "name": told["name"],
        "kind": _kind(kind),
        "default": kind.get("default"),
        "about": kind.get("description", ""),
    }


def _answer(told: dict[str, Any]) -> str:
    content = told.get("content", {}).get("application/json", {})
    return _kind(content.get("schema", {}))


def _shape(name: str, told: dict[str, Any]) -> dict[str, Any]:
    fields = [
        {"name": field, "kind": _kind(kind)} for field, kind in told.get("properties", {}).items()
    ]
    return {"name": name, "about": told.get("description", ""), "fields": fields}


def _kind(told: dict[str, Any]) -> str:
    """Return a JSON schema in a few words, with its bounds."""
    if "$ref" in told:
        return str(told["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in told:
        return " or ".join(_kind(item) for item in told["anyOf"])
    if "const" in told:
        return repr(told["const"])
    if "enum" in told:
        return " or ".join(repr(item) for item in told["enum"])
    kind = str(told.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(told.get('items', {}))}"
    if isinstance(told.get("additionalProperties"), dict):
        return f"object of {_kind(told['additionalProperties'])}"
    return kind + _bounds(told)


def _bounds(told: dict[str, Any]) -> str:
    low, high = told.get("minimum"), told.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return "" if low is None else f" from {low} on"
