{{- define "radmeter.databaseEnvironment" -}}
- name: RADMETER_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret }}
      key: {{ .Values.database.key }}
{{- if .Values.database.ca.configMap }}
- name: PGSSLMODE
  value: verify-full
- name: PGSSLROOTCERT
  value: /etc/radmeter/database/ca.crt
{{- end }}
{{- end -}}

{{- define "radmeter.secretEnvironment" -}}
{{- include "radmeter.databaseEnvironment" . }}
{{- if and (eq .Values.storage.kind "s3") .Values.storage.s3.existingSecret }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.storage.s3.existingSecret }}
      key: {{ $name }}
{{- end }}
{{- end }}
{{- range $name, $where := .Values.secretSettings }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $where.secret }}
      key: {{ $where.key }}
{{- end }}
{{- end -}}

{{- /* dict root, own: the variables of this container alone */ -}}
{{- define "radmeter.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "radmeter.fullname" .root }}-settings
env:
  {{- include "radmeter.secretEnvironment" .root | nindent 2 }}
  {{- range $name, $value := .own }}
  - name: {{ $name }}
    value: {{ $value | toString | quote }}
  {{- end }}
{{- end -}}

{{- /* What all processes are told. */ -}}
{{- define "radmeter.settings" -}}
RADMETER_DATA: /var/lib/radmeter
RADMETER_DICOM_HOST: 0.0.0.0
RADMETER_DICOM_PORT: "11112"
RADMETER_DICOM_TLS_PORT: "2762"
RADMETER_HTTP_HOST: 0.0.0.0
RADMETER_HTTP_PORT: "8080"
RADMETER_HEALTH_HOST: 0.0.0.0
{{- if eq .Values.storage.kind "s3" }}
RADMETER_OBJECTS: {{ .Values.storage.s3.url | quote }}
{{- with .Values.storage.s3.endpoint }}
RADMETER_OBJECTS_ENDPOINT: {{ . | quote }}
{{- end }}
RADMETER_OBJECTS_CACHE_MIB: {{ .Values.storage.cache.mib | toString | quote }}
{{- if .Values.storage.s3.ca.configMap }}
RADMETER_OBJECTS_AUTHORITIES: /etc/radmeter/objects/ca.crt
{{- end }}
{{- with .Values.storage.s3.region }}
RADMETER_OBJECTS_REGION: {{ . | quote }}
{{- end }}
{{- end }}
{{- if .Values.masterKeys.existingSecret }}
RADMETER_MASTER_KEYS: {{ printf "/etc/radmeter/keys/%s" (join ",/etc/radmeter/keys/" .Values.masterKeys.files) }}
{{- end }}
{{- if .Values.portal.host }}
RADMETER_PORTAL_URL: https://{{ .Values.portal.host }}
RADMETER_COOKIE_SECURE: "true"
{{- end }}
{{- with .Values.heartbeat.minutes }}
RADMETER_HEARTBEAT_MINUTES: {{ . | toString | quote }}
RADMETER_HEARTBEAT_TO: {{ $.Values.gateway.plain | ternary (printf "%s-gateway:%v" (include "radmeter.fullname" $) $.Values.gateway.service.port) (printf "tls://%s-gateway:%v" (include "radmeter.fullname" $) $.Values.gateway.service.tlsPort) }}
{{- end }}
RADMETER_INFERENCE_ENGINE: {{ .Values.inference.engine }}
RADMETER_INFERENCE_PROVIDER: {{ .Values.inference.provider }}
RADMETER_INFERENCE_PRECISION: {{ .Values.inference.precision }}
{{- if eq .Values.inference.engine "triton" }}
RADMETER_TRITON_URL: {{ .Values.triton.enabled | ternary (printf "grpc://%s-triton:8001" (include "radmeter.fullname" .)) .Values.triton.url }}
RADMETER_TRITON_SHARED_MEMORY: "off"
{{- end }}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end -}}
