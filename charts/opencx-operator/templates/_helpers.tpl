{{/* Labels that Helm recommends, of every object. */}}
{{- define "opencx.labels" -}}
app.kubernetes.io/name: opencx-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Of the Pods. The same as those of config/manager: they can never be changed. */}}
{{- define "opencx.selector" -}}
app.kubernetes.io/name: opencx-operator
{{- end }}

{{- define "opencx.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/*
Go's garbage collector works harder near this than near the container's limit, which
kills: what is between them is for memory that Go does not count.
*/}}
{{- define "opencx.goMemLimit" -}}
{{- with .Values.goMemLimit }}{{ . }}{{ else }}
{{- with dig "limits" "memory" "" .Values.resources }}
{{- $unit := regexFind "[A-Za-z]*$" . }}
{{- $bytes := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 }}
{{- divf (mulf (trimSuffix $unit . | float64) (get $bytes $unit) 25) 33554432 | floor | int }}MiB
{{- end }}
{{- end }}
{{- end }}

{{/* The rules of a Role or ClusterRole that is generated from the code. */}}
{{- define "opencx.generatedRules" -}}
{{- $kind := .kind }}
{{- range splitList "---\n" (.root.Files.Get "files/manager_role.yaml") }}
{{- with fromYaml . }}
{{- if eq .kind $kind }}{{ toYaml .rules }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "opencx.subjects" -}}
- kind: ServiceAccount
  name: {{ .Release.Name }}-controller-manager
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{/* A binding of the role of the given name to the operator; namespace "" is for all. */}}
{{- define "opencx.binding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if .namespace }}RoleBinding{{ else }}ClusterRoleBinding{{ end }}
metadata:
  name: {{ .root.Release.Name }}-{{ .name }}-rolebinding
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "opencx.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ if .namespace }}Role{{ else }}ClusterRole{{ end }}
  name: {{ .root.Release.Name }}-{{ .name }}-role
subjects:
{{ include "opencx.subjects" .root }}
{{- end }}
