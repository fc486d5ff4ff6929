{{/* What cannot work is refused with the mend, before anything is rendered. */}}
{{- define "mainstay.refusals" -}}
{{- $values := .Values -}}
{{- range $foreign, $own := dict "replicaCount" "defaults.replicas" "postgresql" "database.existingSecret" "serviceMonitor" "monitoring.enabled" "podDisruptionBudget" "defaults.podDisruptionBudget" -}}
{{- if hasKey $values $foreign -}}
{{- fail (printf "%s is no key of this chart: use %s" $foreign $own) -}}
{{- end -}}
{{- end -}}
{{- if not $values.publicUrl -}}
{{- fail "publicUrl is not set: set it to the address that clients call, such as https://api.example.com" -}}
{{- end -}}
{{- if lt (int $values.drain.deadlineSeconds) (add (int $values.drain.spreadSeconds) 6 | int) -}}
{{- fail "drain.deadlineSeconds must be at least 6 more than drain.spreadSeconds: the drain includes both the spread and the 5 s that jobs have" -}}
{{- end -}}
{{- $services := include "mainstay.services" . | fromJson -}}
{{- if $values.evaluation.enabled -}}
{{- if or (ne $values.registry.kind "directory") (ne $values.events.kind "embedded") (ne $values.mesh.certificates "generated") -}}
{{- fail "evaluation.enabled runs everything in one pod: set registry.kind=directory, events.kind=embedded and mesh.certificates=generated, as values-eval.yaml does" -}}
{{- end -}}
{{- else -}}
{{- if eq $values.registry.kind "directory" -}}
{{- fail "registry.kind=directory is for one machine: set kubernetes, consul or etcd, or install with values-eval.yaml" -}}
{{- end -}}
{{- if eq $values.events.kind "embedded" -}}
{{- fail "events.kind=embedded is for one machine: set kafka or redis-streams, or install with values-eval.yaml" -}}
{{- end -}}
{{- $redis := or $values.redis.url $values.redis.existingSecret -}}
{{- if and (eq $values.events.kind "redis-streams") (not $redis) -}}
{{- fail "events.kind is redis-streams and there is no Redis: set redis.existingSecret" -}}
{{- end -}}
{{- if and (eq $values.events.kind "kafka") (not $values.events.kafka.brokers) -}}
{{- fail "events.kind is kafka and events.kafka.brokers is not set: set it to host:port, several with commas between" -}}
{{- end -}}
{{- if and (eq $values.registry.kind "consul") (not $values.registry.consul.url) -}}
{{- fail "registry.kind is consul and registry.consul.url is not set" -}}
{{- end -}}
{{- if and (eq $values.registry.kind "etcd") (not $values.registry.etcd.urls) -}}
{{- fail "registry.kind is etcd and registry.etcd.urls is empty" -}}
{{- end -}}
{{- range $name, $svc := $services -}}
{{- if and $svc.edge (not $redis) (or $svc.autoscaling.enabled (gt (int $svc.replicas) 1)) -}}
{{- fail (printf "services.%s has several replicas and there is no Redis, so that each would count limits and remember Idempotency-Keys for itself: set redis.existingSecret, or services.%s.replicas=1" $name $name) -}}
{{- end -}}
{{- if and $svc.database (not (default $values.database.existingSecret $svc.database.existingSecret)) -}}
{{- fail (printf "services.%s has a database and no Secret with its URL: set database.existingSecret" $name) -}}
{{- end -}}
{{- if and (eq $values.mesh.certificates "existing") (not $svc.certificate.existingSecret) -}}
{{- fail (printf "mesh.certificates is existing: set services.%s.certificate.existingSecret" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
