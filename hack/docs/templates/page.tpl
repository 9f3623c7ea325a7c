{{- define "gvList" -}}
# API reference

Every field of both kinds, generated from `api/v1alpha1` by `make api-docs`. What fields mean
in practice stands in [opencxcontact.md](opencxcontact.md) and
[opencxorganization.md](opencxorganization.md), and what the API server says to a mistake in
[validation.md](validation.md). `kubectl explain` shows the same texts.
{{ range . }}
| kind | `apiVersion` |
|---|---|
{{- $gv := . }}
{{- range .SortedKinds }}
| {{ $gv.TypeForKind . | markdownRenderTypeLink }} | `{{ $gv.GroupVersionString }}` |
{{- end }}
{{ range .SortedTypes }}{{ template "type" . }}{{ end }}
{{- end }}
{{- end -}}

{{- define "type" -}}
{{- if markdownShouldRenderType . }}
## {{ .Name }}

{{ .Doc }}
{{- with .SortedReferences }}

Used by:
{{- range $i, $user := . }}{{ if $i }},{{ end }} {{ markdownRenderTypeLink $user }}{{ end }}.
{{- end }}
{{- if .Members }}

| field | type | required | description | bounds |
|---|---|---|---|---|
{{- range .Members }}
{{- if ne .Name "metadata" }}
| `{{ .Name }}` | {{ regexReplaceAll "\\[(\\w+)\\]\\(https:[^)]*\\)" (markdownRenderType .Type) "${1}" }} | {{ template "required" . }} | {{ .Doc | replace "\n" " " | markdownRenderFieldDoc }} | {{ template "bounds" . }} |
{{- end }}
{{- end }}
{{- end }}
{{- if .EnumValues }}

| value | description |
|---|---|
{{- range .EnumValues }}
| `{{ .Name }}` | {{ .Doc | replace "\n" " " | markdownRenderFieldDoc }} |
{{- end }}
{{- end }}
{{ end }}
{{- end -}}

{{- define "required" }}{{ range .Validation }}{{ if hasPrefix "Required:" . }}yes{{ end }}{{ end }}{{ end -}}

{{- define "bounds" -}}
{{- $some := false -}}
{{- range .Validation -}}
{{- if not (or (hasPrefix "Required:" .) (hasPrefix "Optional:" .) (hasPrefix "Type:" .) (eq . "MinLength: 0") (eq . "MinProperties: 0") (eq . "MinItems: 0")) -}}
{{- if $some }}, {{ end }}{{ markdownRenderFieldDoc . }}{{ $some = true -}}
{{- end -}}
{{- end -}}
{{- end -}}
