{{- define "depth.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "depth.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "depth.labels" -}}
{{ include "depth.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Every DEPTH_... variable: what was chosen, and what the chart decides. */}}
{{- define "depth.environment" -}}
{{- range $name, $value := .Values.settings }}
DEPTH_{{ upper $name }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- if and .Values.gpu.count (not .Values.settings.device) }}
{{- /* A pod that was promised a GPU must not serve from its CPU, should it not see any. */}}
{{- "DEPTH_DEVICE: cuda" | nindent 0 }}
{{- end }}
DEPTH_HTTP_PORT: "8000"
DEPTH_GRPC_PORT: "8001"
DEPTH_CACHE_DIR: /var/cache/depth
DEPTH_READY_FILE: /tmp/depth-ready.json
{{- if .Values.models.existingClaim }}
DEPTH_MODELS: /models
{{- end }}
{{- with .Values.secrets }}
{{- if .apiKeys }}
DEPTH_API_KEYS: /etc/depth/api-keys/api-keys
{{- end }}
{{- if .adminKey }}
DEPTH_ADMIN_KEY_FILE: /etc/depth/admin-key/admin-key
{{- end }}
{{- if .tls }}
DEPTH_TLS_CERT: /etc/depth/tls/tls.crt
DEPTH_TLS_KEY: /etc/depth/tls/tls.key
{{- end }}
{{- if .clientCa }}
DEPTH_TLS_CLIENT_CA: /etc/depth/client-ca/ca.crt
{{- end }}
{{- end }}
{{- end }}

{{/* How the kubelet asks over HTTP; with client certificates it could not, and asks the container itself. */}}
{{- define "depth.ask" -}}
{{- if .root.Values.secrets.clientCa -}}
exec: {command: [python3, /opt/depth/healthcheck.py]}
{{- else -}}
httpGet: {path: {{ .path }}, port: http{{ if .root.Values.secrets.tls }}, scheme: HTTPS{{ end }}}
{{- end }}
{{- end }}

{{/*
The longest orderly end: load balancers hear of it, the service lingers, streams and calls end, requests end, and
some seconds to release everything. A pod that has nothing left to answer goes at once.
*/}}
{{- define "depth.graceSeconds" -}}
{{- $drain := .Values.settings.drain_timeout_s | default 25 -}}
{{- $linger := .Values.settings.linger_s | default 0 -}}
{{- add .Values.drain.preStopSeconds (ceil $linger) (mul 2 (ceil $drain)) 5 -}}
{{- end }}
