{{/* The operator's arguments. What is empty is left to its own default. */}}
{{- define "opencx.args" -}}
- --leader-elect
- --metrics-bind-address=:8443
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- if ne $.Values.defaultAPIKeySecret "opencx-api-key" }}
- --default-api-key-secret={{ $.Values.defaultAPIKeySecret }}
{{- end }}
{{- end }}
{{- range $flag, $value := dict
  "watch-label-selector" .Values.watchLabelSelector
  "opencx-api-url" .Values.apiURL
  "opencx-rate-limit" .Values.rateLimit
  "budget-share" .Values.budgetShare
  "default-organization" .Values.defaultOrganization
  "resync-interval" .Values.resyncInterval
  "max-concurrent-reconciles" .Values.maxConcurrentReconciles
  "events-addr" .Values.eventsAddr
  "zap-log-level" .Values.logging.level
  "zap-encoder" .Values.logging.encoder
  "zap-time-encoding" .Values.logging.timeEncoding
}}
{{- with $value }}
- {{ printf "--%s=%v" $flag . | quote }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
