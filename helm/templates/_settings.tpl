{{/* The settings file of one process, and the files that hold what is secret in it. */}}

{{- define "mainstay.adminPort" -}}
{{ add (int .svc.port) 10000 }}
{{- end -}}

{{/* A value as TOML. Helm reads every number as a float; one without a fraction is an integer. */}}
{{- define "mainstay.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ $key | quote }} = {{ include "mainstay.tomlValue" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{- range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "mainstay.tomlValue" $item }}{{ end }}]
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{ int64 . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* A table as TOML: its values first, then its tables. Context: `path` and `table`. */}}
{{- define "mainstay.toml" -}}
{{- $path := .path -}}
{{- $table := .table -}}
{{- range $key := keys $table | sortAlpha }}
{{- if not (kindIs "map" (get $table $key)) }}
{{ $key | quote }} = {{ include "mainstay.tomlValue" (get $table $key) }}
{{- end }}
{{- end }}
{{- range $key := keys $table | sortAlpha }}
{{- if kindIs "map" (get $table $key) }}
{{- $inner := append $path ($key | quote) }}

[{{ join "." $inner }}]
{{- include "mainstay.toml" (dict "path" $inner "table" (get $table $key)) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "mainstay.settings" -}}
{{- $values := .root.Values -}}
{{- $alone := $values.evaluation.enabled -}}
{{- $host := ternary "127.0.0.1" "0.0.0.0" (and $alone (not .svc.edge)) -}}
{{- $settings := dict
  "mode" (ternary "development" "production" $alone)
  "listen" (printf "%s:%d" $host (int .svc.port))
  "admin_listen" (printf "0.0.0.0:%s" (include "mainstay.adminPort" .))
  "data_dir" (printf "/var/lib/mainstay/%s" .name)
  "tls" (dict "ca_file" "/run/secrets/mesh/ca.crt" "cert_file" "/run/secrets/mesh/tls.crt" "key_file" "/run/secrets/mesh/tls.key")
  "lifecycle" (dict "spread" (printf "%ds" (int $values.drain.spreadSeconds)) "drain_deadline" (printf "%ds" (int $values.drain.deadlineSeconds)))
  "telemetry" (dict "log_format" $values.telemetry.logFormat "log_filter" $values.telemetry.logFilter)
-}}
{{- with $values.telemetry.otlpEndpoint }}{{ $_ := set $settings.telemetry "otlp_endpoint" . }}{{ end -}}
{{- if $values.telemetry.reporter.existingSecret }}{{ $_ := set $settings.telemetry "reporter" (dict "environment" $values.telemetry.reporter.environment) }}{{ end -}}
{{- $registry := dict "kind" $values.registry.kind -}}
{{- if eq $values.registry.kind "directory" }}{{ $_ := set $registry "path" "/var/lib/mainstay/registry" }}{{ end -}}
{{- if eq $values.registry.kind "consul" }}{{ $_ := set $registry "consul" (dict "url" $values.registry.consul.url) }}{{ end -}}
{{- if eq $values.registry.kind "kubernetes" }}{{ $_ := set $registry "kubernetes" (dict "selector" "app.kubernetes.io/part-of=mainstay") }}{{ end -}}
{{- if eq $values.registry.kind "etcd" -}}
{{- $etcd := dict "urls" $values.registry.etcd.urls -}}
{{- with $values.registry.etcd.user }}{{ $_ := set $etcd "user" . }}{{ end -}}
{{- $_ := set $registry "etcd" $etcd -}}
{{- end -}}
{{- $_ := set $settings "registry" $registry -}}
{{- $events := dict "kind" $values.events.kind -}}
{{- if eq $values.events.kind "embedded" }}{{ $_ := set $events "path" "/var/lib/mainstay/broker.db" }}{{ end -}}
{{- if eq $values.events.kind "kafka" }}{{ $_ := set $events "kafka" (dict "brokers" $values.events.kafka.brokers) }}{{ end -}}
{{- $_ := set $settings "events" $events -}}
{{- if $values.redis.url }}{{ $_ := set $settings "redis" (dict "url" $values.redis.url) }}{{ end -}}
{{- $own := dict -}}
{{- with .svc.issuerKey }}{{ $_ := set $own . (trimSuffix "/" $values.publicUrl) }}{{ end -}}
{{- if .svc.edge -}}
{{- $_ := set $own "trusted_hops" (ternary 1 0 (or $values.edge.ingress.enabled $values.edge.httpRoute.enabled)) -}}
{{- end -}}
{{- if and (eq .name "auth-svc") $values.admin.email }}{{ $_ := set $own "bootstrap_admin_email" $values.admin.email }}{{ end -}}
{{- $_ := set $settings .svc.section $own -}}
{{- $settings = mustMergeOverwrite $settings (deepCopy $values.settings) (deepCopy .svc.settings) -}}
{{- include "mainstay.toml" (dict "path" list "table" $settings) | trim -}}
{{- end -}}

{{/* Settings whose values lie in Secrets, as a JSON object: variable -> secret and key. */}}
{{- define "mainstay.secretFiles" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $files := dict -}}
{{- if and .svc.database (not $values.evaluation.enabled) -}}
{{- $_ := set $files "MAINSTAY_DATABASE__URL" (dict "secret" (default $values.database.existingSecret .svc.database.existingSecret) "key" .svc.database.secretKey) -}}
{{- end -}}
{{- if $values.redis.existingSecret -}}
{{- $_ := set $files "MAINSTAY_REDIS__URL" (dict "secret" $values.redis.existingSecret "key" $values.redis.secretKey) -}}
{{- end -}}
{{- if and (eq $values.registry.kind "consul") $values.registry.consul.existingSecret -}}
{{- $_ := set $files "MAINSTAY_REGISTRY__CONSUL__TOKEN" (dict "secret" $values.registry.consul.existingSecret "key" $values.registry.consul.secretKey) -}}
{{- end -}}
{{- if and (eq $values.registry.kind "etcd") $values.registry.etcd.existingSecret -}}
{{- $_ := set $files "MAINSTAY_REGISTRY__ETCD__PASSWORD" (dict "secret" $values.registry.etcd.existingSecret "key" $values.registry.etcd.secretKey) -}}
{{- end -}}
{{- if and (eq .name "auth-svc") $values.admin.email -}}
{{- $_ := set $files "MAINSTAY_AUTH__BOOTSTRAP_ADMIN_PASSWORD" (dict "secret" (include "mainstay.secretName" $root) "key" "admin-password") -}}
{{- end -}}
{{- $_ := set $files "MAINSTAY_TELEMETRY__SUBJECT_KEY" (dict "secret" (include "mainstay.secretName" $root) "key" "subject-key") -}}
{{- with $root.Values.telemetry.reporter -}}
{{- if .existingSecret -}}
{{- $_ := set $files "MAINSTAY_TELEMETRY__REPORTER__DSN" (dict "secret" .existingSecret "key" .secretKey) -}}
{{- end -}}
{{- end -}}
{{- range $variable, $key := .svc.platformSecrets -}}
{{- $_ := set $files $variable (dict "secret" (include "mainstay.secretName" $root) "key" $key) -}}
{{- end -}}
{{- range $variable, $from := .svc.secretFiles -}}
{{- $_ := set $files $variable (dict "secret" $from.existingSecret "key" $from.secretKey) -}}
{{- end -}}
{{- $files | toJson -}}
{{- end -}}
