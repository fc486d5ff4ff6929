{{/* Names and labels. Where a template is of one process, its context is a dict of `root`, `name` and `svc`. */}}

{{- define "mainstay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "mainstay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "mainstay.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "mainstay.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mainstay.version" -}}
{{- default .Chart.AppVersion .Values.image.tag -}}
{{- end -}}

{{/* The labels by which the platform's pods are selected, together. */}}
{{- define "mainstay.platformSelector" -}}
app.kubernetes.io/part-of: mainstay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mainstay.labels" -}}
{{ include "mainstay.platformSelector" . }}
app.kubernetes.io/name: {{ include "mainstay.name" . }}
app.kubernetes.io/version: {{ include "mainstay.version" . | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What tells the pods that serve from those that migrate. */}}
{{- define "mainstay.selector" -}}
{{ include "mainstay.platformSelector" .root }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "mainstay.processName" -}}
{{ include "mainstay.fullname" .root }}-{{ .name }}
{{- end -}}

{{- define "mainstay.serviceAccount" -}}
{{- if .svc.serviceAccount.create -}}
{{- default (include "mainstay.processName" .) .svc.serviceAccount.name -}}
{{- else -}}
{{- default "default" .svc.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "mainstay.image" -}}
{{- $image := .root.Values.image -}}
{{- $path := printf "%s/%s:%s" $image.repository .name (include "mainstay.version" .root) -}}
{{- if $image.registry }}{{ $image.registry }}/{{ end }}{{ $path }}
{{- end -}}

{{- define "mainstay.secretName" -}}
{{- default (printf "%s-secrets" (include "mainstay.fullname" .)) .Values.secrets.existingSecret -}}
{{- end -}}

{{- define "mainstay.certificateSecret" -}}
{{- default (printf "%s-mesh-%s" (include "mainstay.fullname" .root) .name) .svc.certificate.existingSecret -}}
{{- end -}}

{{/* Every enabled service with its defaults, as JSON by name. */}}
{{- define "mainstay.services" -}}
{{- $services := dict -}}
{{- range $name, $own := .Values.services -}}
{{- $svc := mustMergeOverwrite (deepCopy $.Values.defaults) (deepCopy ($own | default dict)) -}}
{{- if $svc.enabled -}}
{{- $_ := set $services $name $svc -}}
{{- end -}}
{{- end -}}
{{- $services | toJson -}}
{{- end -}}
