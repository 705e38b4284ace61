{{/* Stem of all names: the release, with the chart's name unless it is in there. */}}
{{- define "tapir-operator.name" -}}
{{- if contains "tapir-operator" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-tapir-operator" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tapir-operator.policy" -}}
{{ include "tapir-operator.name" . }}-inject
{{- end -}}

{{/* Service, Secret and configuration of the webhook have one name. */}}
{{- define "tapir-operator.webhook" -}}
{{ include "tapir-operator.name" . }}-webhook
{{- end -}}

{{/* Who injects: Policy or Webhook. */}}
{{- define "tapir-operator.mode" -}}
{{- if ne .Values.injection.mode "Auto" -}}
{{- .Values.injection.mode -}}
{{- else if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
Policy
{{- else -}}
Webhook
{{- end -}}
{{- end -}}

{{/* The namespaces that are served, as a selector. */}}
{{- define "tapir-operator.namespaceSelector" -}}
{{- if .Values.clusterWide -}}
{}
{{- else -}}
matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: {{ include "tapir-operator.namespaces" . }}}]
{{- end -}}
{{- end -}}

{{- define "tapir-operator.selector" -}}
app.kubernetes.io/name: tapir-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tapir-operator.labels" -}}
{{ include "tapir-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: dns-tapir-edge
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* Reference of an image: (list $ "tapir-edm" .Values.images.edm) */}}
{{- define "tapir-operator.image" -}}
{{- $root := index . 0 -}}
{{- index . 2 | default (printf "%s/%s:%s" (trimSuffix "/" $root.Values.imageRegistry) (index . 1) ($root.Values.imageTag | default $root.Chart.AppVersion)) -}}
{{- end -}}

{{/* The watched namespaces as a JSON list; empty means all. */}}
{{- define "tapir-operator.namespaces" -}}
{{- if .Values.clusterWide -}}
[]
{{- else if .Values.watchNamespaces -}}
{{- .Values.watchNamespaces | sortAlpha | toJson -}}
{{- else -}}
{{- list .Release.Namespace | toJson -}}
{{- end -}}
{{- end -}}
