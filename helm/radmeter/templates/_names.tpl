{{- define "radmeter.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* Labels that never change: what selectors use. */ -}}
{{- define "radmeter.selector" -}}
app.kubernetes.io/name: radmeter
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "radmeter.labels" -}}
{{ include "radmeter.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* dict root, component, and optionally name (else fullname-component) and annotations */ -}}
{{- define "radmeter.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "radmeter.fullname" .root) .component) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "radmeter.labels" . | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "radmeter.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "radmeter.gpuImage" -}}
{{- $image := .Values.image -}}
{{- if $image.gpuDigest -}}
{{ $image.repository }}@{{ $image.gpuDigest }}
{{- else -}}
{{ $image.repository }}:{{ $image.gpuTag | default (printf "%s-gpu" ($image.tag | default .Chart.AppVersion)) }}
{{- end -}}
{{- end -}}

{{- define "radmeter.tritonImage" -}}
{{- $image := .Values.triton.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag }}
{{- end -}}
{{- end -}}

{{- define "radmeter.claim" -}}
{{- .Values.storage.claim.existing | default (printf "%s-data" (include "radmeter.fullname" .)) -}}
{{- end -}}

{{- /* What serves people and peers goes before what works off a queue. dict root, of: service, work, or none before the release */ -}}
{{- define "radmeter.priorityClass" -}}
{{- $class := .root.Values.priorityClass -}}
{{- $name := get $class .of -}}
{{- if and $class.create (ne .of "none") -}}
{{- $name = printf "%s-%s" (include "radmeter.fullname" .root) .of -}}
{{- end -}}
{{- with $name }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
