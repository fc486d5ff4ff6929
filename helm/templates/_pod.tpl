{{/* What a pod is made of. Context: a dict of `root`, `name` and `svc`. */}}

{{- define "mainstay.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "mainstay.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Longer than everything that happens between the order to end and the end. */}}
{{- define "mainstay.graceSeconds" -}}
{{ add (int .Values.drain.preStopSeconds) (int .Values.drain.deadlineSeconds) 5 }}
{{- end -}}

{{- define "mainstay.env" -}}
- name: MAINSTAY_SETTINGS
  value: /etc/mainstay/settings/settings.toml
{{- if not .root.Values.evaluation.enabled }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: MAINSTAY_ADVERTISE
  value: $(POD_IP):{{ .svc.port }}
{{- end }}
{{- range $variable := include "mainstay.secretFiles" . | fromJson | keys | sortAlpha }}
- name: {{ $variable }}_FILE
  value: /run/secrets/mainstay/{{ $variable }}
{{- end }}
{{- with .root.Values.events.kafka }}
{{- if and (eq $.root.Values.events.kind "kafka") .existingSecret }}
- name: MAINSTAY_EVENTS__KAFKA__CLIENT
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .secretKey }}
{{- end }}
{{- end }}
{{- with .svc.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mainstay.mounts" -}}
- name: {{ .prefix }}settings
  mountPath: /etc/mainstay/settings
  readOnly: true
- name: {{ .prefix }}mesh
  mountPath: /run/secrets/mesh
  readOnly: true
{{- if include "mainstay.secretFiles" . | fromJson }}
- name: {{ .prefix }}secrets
  mountPath: /run/secrets/mainstay
  readOnly: true
{{- end }}
{{- if .root.Values.trust.existingConfigMap }}
- name: {{ .prefix }}trust
  mountPath: /etc/mainstay/trust
  readOnly: true
{{- end }}
- name: data
  mountPath: /var/lib/mainstay
{{- with .svc.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* All but `data`, which the pod decides about. */}}
{{- define "mainstay.volumes" -}}
- name: {{ .prefix }}settings
  configMap:
    name: {{ include "mainstay.processName" . }}
- name: {{ .prefix }}mesh
  secret:
    secretName: {{ include "mainstay.certificateSecret" . }}
    defaultMode: 288 # 0440
    items:
      - {key: ca.crt, path: ca.crt}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- $files := include "mainstay.secretFiles" . | fromJson }}
{{- if $files }}
- name: {{ .prefix }}secrets
  projected:
    defaultMode: 288 # 0440
    sources:
    {{- range $variable := keys $files | sortAlpha }}
    {{- $from := get $files $variable }}
      - secret:
          name: {{ $from.secret }}
          items:
            - key: {{ $from.key }}
              path: {{ $variable }}
    {{- end }}
{{- end }}
{{- with .root.Values.trust.existingConfigMap }}
- name: {{ $.prefix }}trust
  configMap:
    name: {{ . }}
{{- end }}
{{- with .svc.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The container that serves. */}}
{{- define "mainstay.container" -}}
- name: {{ .name }}
  image: {{ include "mainstay.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  securityContext:
    {{- include "mainstay.containerSecurity" . | nindent 4 }}
  env:
    {{- include "mainstay.env" . | nindent 4 }}
  ports:
    - name: {{ .portName }}
      containerPort: {{ .svc.port }}
    - name: {{ .adminName }}
      containerPort: {{ include "mainstay.adminPort" . }}
  {{- range $probe, $path := dict "startup" "/healthz" "readiness" "/readyz" "liveness" "/healthz" }}
  {{ $probe }}Probe:
    httpGet:
      path: {{ $path }}
      port: {{ $.adminName }}
    {{- get $.svc.probes $probe | toYaml | nindent 4 }}
  {{- end }}
  {{- if and (gt (int .root.Values.drain.preStopSeconds) 0) (semverCompare ">=1.30.0-0" .root.Capabilities.KubeVersion.Version) }}
  lifecycle:
    preStop:
      sleep:
        seconds: {{ .root.Values.drain.preStopSeconds }}
  {{- end }}
  resources:
    {{- toYaml .svc.resources | nindent 4 }}
  volumeMounts:
    {{- include "mainstay.mounts" . | nindent 4 }}
{{- end -}}

{{/* A container that only does an errand of the binary: `migrate` or `await-migrations`. */}}
{{- define "mainstay.errand" -}}
- name: {{ .errand }}
  image: {{ include "mainstay.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: [{{ .errand }}]
  securityContext:
    {{- include "mainstay.containerSecurity" . | nindent 4 }}
  env:
    {{- include "mainstay.env" . | nindent 4 }}
  resources:
    {{- toYaml .svc.resources | nindent 4 }}
  volumeMounts:
    {{- include "mainstay.mounts" . | nindent 4 }}
{{- end -}}
