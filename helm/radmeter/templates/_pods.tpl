{{- /* What every pod is: no token, no root, nothing written but what is mounted. dict root, component, of, drain, and uid */ -}}
{{- define "radmeter.pod" -}}
serviceAccountName: {{ .serviceAccount | default (include "radmeter.fullname" .root) }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "radmeter.priorityClass" . }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid | default 10001 }}
  runAsGroup: {{ .uid | default 10001 }}
  fsGroup: {{ .uid | default 10001 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "radmeter.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities:
    drop: [ALL]
{{- end -}}

{{- /* Where pods may run. dict root, component, of (the component's values) */ -}}
{{- define "radmeter.placement" -}}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "radmeter.selector" $ | nindent 8 }}
  {{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "radmeter.cacheSize" -}}
{{ div (mul .Values.storage.cache.mib 5) 4 }}Mi
{{- end -}}

{{- define "radmeter.volumes" -}}
- name: data
  {{- if eq .Values.storage.kind "claim" }}
  persistentVolumeClaim:
    claimName: {{ include "radmeter.claim" . }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ include "radmeter.cacheSize" . }}
    {{- with .Values.storage.cache.medium }}
    medium: {{ . }}
    {{- end }}
  {{- end }}
{{- include "radmeter.smallVolumes" . }}
{{- with .Values.models.existingClaim }}
- name: models
  persistentVolumeClaim:
    claimName: {{ . }}
    readOnly: true
{{- end }}
{{- with .Values.masterKeys.existingSecret }}
- name: master-keys
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.destinationSecrets.existingSecret }}
- name: destinations
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "radmeter.smallVolumes" }}
- name: tmp
  emptyDir:
    sizeLimit: 2Gi
{{- with .Values.database.ca.configMap }}
- name: database-ca
  configMap:
    name: {{ . }}
    items: [{key: {{ $.Values.database.ca.key }}, path: ca.crt}]
{{- end }}
{{- if and (eq .Values.storage.kind "s3") .Values.storage.s3.ca.configMap }}
- name: objects-ca
  configMap:
    name: {{ .Values.storage.s3.ca.configMap }}
    items: [{key: {{ .Values.storage.s3.ca.key }}, path: ca.crt}]
{{- end }}
{{- end -}}

{{- define "radmeter.mounts" -}}
- name: data
  mountPath: /var/lib/radmeter
{{- include "radmeter.smallMounts" . }}
{{- if .Values.models.existingClaim }}
- name: models
  mountPath: /var/lib/radmeter/models
  readOnly: true
{{- end }}
{{- if .Values.masterKeys.existingSecret }}
- name: master-keys
  mountPath: /etc/radmeter/keys
  readOnly: true
{{- end }}
{{- if .Values.destinationSecrets.existingSecret }}
- name: destinations
  mountPath: /var/lib/radmeter/secrets
  readOnly: true
{{- end }}
{{- end -}}

{{- define "radmeter.smallMounts" }}
- name: tmp
  mountPath: /tmp
{{- if .Values.database.ca.configMap }}
- name: database-ca
  mountPath: /etc/radmeter/database
  readOnly: true
{{- end }}
{{- if and (eq .Values.storage.kind "s3") .Values.storage.s3.ca.configMap }}
- name: objects-ca
  mountPath: /etc/radmeter/objects
  readOnly: true
{{- end }}
{{- end -}}

{{- /* Until the schema is that of this image, nothing that uses it starts. */ -}}
{{- define "radmeter.waitForSchema" -}}
- name: schema
  image: {{ include "radmeter.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [migrate, --check, --wait-s, "600"]
  {{- include "radmeter.containerSecurity" . | nindent 2 }}
  env:
    {{- include "radmeter.databaseEnvironment" . | nindent 4 }}
  resources:
    {{- toYaml .Values.migrate.resources | nindent 4 }}
  volumeMounts:
    {{- include "radmeter.smallMounts" . | nindent 4 }}
{{- end -}}

{{- /* What lies in the cache is asked of the node. dict root, resources, gpu */ -}}
{{- define "radmeter.resources" -}}
{{- $cache := .root.Values.storage.cache -}}
requests:
  {{- toYaml .resources.requests | nindent 2 }}
  {{- if and (eq .root.Values.storage.kind "s3") (not $cache.medium) }}
  ephemeral-storage: {{ include "radmeter.cacheSize" .root }}
  {{- end }}
limits:
  {{- toYaml .resources.limits | nindent 2 }}
  {{- if (.gpu | default dict).count }}
  {{ .gpu.resource }}: {{ .gpu.count }}
  {{- end }}
{{- end -}}

{{- define "radmeter.httpProbes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{- /* The watch is ready when it runs: what it finds wrong with Triton is Triton's readiness, not its own. */ -}}
{{- define "radmeter.watchProbes" -}}
{{ include "radmeter.httpProbes" . | replace "/readyz" "/healthz" }}
{{- end -}}

{{- /* New connections go elsewhere before the process is told to end. */ -}}
{{- define "radmeter.preStop" -}}
lifecycle:
  preStop:
    exec:
      command: [sleep, "5"]
{{- end -}}

{{- define "radmeter.graceSeconds" -}}
{{ add . 5 15 }}
{{- end -}}
