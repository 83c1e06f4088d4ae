"""Draw panels.toml as a Grafana dashboard: `python docker/grafana/make_dashboard.py` writes it as JSON.

Tests hold the committed file to what this writes, and every query in it to what a running service exports.
"""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_FOLDER = Path(__file__).parent
PANELS = _FOLDER / "panels.toml"
OUTPUT = _FOLDER / "dashboards" / "depth.json"

_COLUMNS = 24
_SIZES = {"stat": (3, 4)}
"""Width and height in the dashboard's grid."""
_SIZE = (8, 8)
_SOURCE: Json = {"type": "prometheus", "uid": "${source}"}
_HERE = 'job=~"$job",instance=~"$instance"'
_SHORT = {
    "@here": _HERE,
    "@model": f'{_HERE},model=~"$model"',
    "@transport": f'{_HERE},transport=~"$transport"',
    "@all": f'{_HERE},transport=~"$transport",model=~"$model"',
    "[w]": "[$__rate_interval]",
}
_VARIABLES = {
    "job": "label_values(depth_ready, job)",
    "instance": 'label_values(depth_ready{job=~"$job"}, instance)',
    "transport": 'label_values(depth_in_flight{job=~"$job"}, transport)',
    "model": 'label_values(depth_queue_length{job=~"$job"}, model)',
}
_OPTIONS: dict[str, Json] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Viridis", "steps": 64},
        "tooltip": {"mode": "single"},
    },
    "table": {"cellHeight": "sm", "showHeader": True},
}


def dashboard(rows: list[Json]) -> Json:
    """Lay rows of panels out under each other."""
    panels: list[Json] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        panels.append(
            {"type": "row", "title": row["title"], "collapsed": False, "panels": [], "gridPos": place}
        )
        left, top, height = 0, top + 1, 0
        for panel in row["panel"]:
            width, height = _SIZES.get(panel.get("kind", ""), _SIZE)
            width = panel.get("width", width)
            if left + width > _COLUMNS:
                left, top = 0, top + height
            panels.append(_draw(panel) | {"gridPos": {"x": left, "y": top, "w": width, "h": height}})
            left += width
        top += height
    return {
        "uid": "vfm-depth",
        "title": "Depth service",
        "description": "What the depth service measures of itself; docs/metrics.md says what to make of it.",
        "tags": ["depth"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "templating": {"list": [_source(), *(_variable(*each) for each in _VARIABLES.items())]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }


def _draw(panel: Json) -> Json:
    kind = panel.get("kind", "timeseries")
    steps = [
        {"color": colour, "value": value} for colour, value in map(_step, panel.get("steps", [["green"]]))
    ]
    defaults: Json = {"unit": panel.get("unit", "short"), "min": 0}
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    stacked = panel.get("stacked", False)
    if kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 25 if stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        }
    drawn: Json = {
        "type": kind,
        "title": panel["title"],
        "description": panel["text"],
        "datasource": _SOURCE,
        "targets": _targets(panel["queries"], kind),
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [_dashed_limits()] if kind == "timeseries" else [],
        },
        "options": _OPTIONS[kind],
    }
    if kind == "table":
        excluded = dict.fromkeys(("Time", "Value", "__name__", "job"), True)
        drawn["transformations"] = [{"id": "organize", "options": {"excludeByName": excluded}}]
    return drawn


def _step(step: list[Any]) -> tuple[str, float | None]:
    return (step[0], step[1]) if len(step) > 1 else (step[0], None)


def _targets(queries: Mapping[str, str], kind: str) -> list[Json]:
    return [
        {
            "refId": chr(ord("A") + index),
            "datasource": _SOURCE,
            "expr": _long(expr),
            "legendFormat": legend,
            "format": kind if kind in ("heatmap", "table") else "time_series",
            "instant": kind == "table",
            "range": kind != "table",
        }
        for index, (legend, expr) in enumerate(queries.items())
    ]


def _long(expr: str) -> str:
    for short, long in _SHORT.items():
        expr = expr.replace(short, long)
    return expr.strip()


def _dashed_limits() -> Json:
    properties = [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
        {"id": "custom.fillOpacity", "value": 0},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}},
    ]
    return {"matcher": {"id": "byRegexp", "options": "limit.*"}, "properties": properties}


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Depth.*",alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{model}}",
        "step": "30s",
    }


def _source() -> Json:
    return {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> Json:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


def text() -> str:
    """Write the dashboard as it is committed."""
    return json.dumps(dashboard(tomllib.loads(PANELS.read_text(encoding="utf-8"))["row"]), indent=1) + "\n"


def main() -> None:
    """Write the file, and say where."""
    OUTPUT.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{OUTPUT}\n")


if __name__ == "__main__":
    main()
