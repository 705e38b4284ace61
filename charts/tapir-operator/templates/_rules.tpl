{{/* What the operator may do in a namespace that it serves: in a Role there, or in the ClusterRole of clusterWide. */}}
{{- define "tapir-operator.namespaceRules" -}}
# The resources that it serves: read, and nothing of their spec is ever written. Patch is for the finalizer and an annotation.
- apiGroups: [dnstapir.se]
  resources: [tapiredges, tapirpolicies]
  verbs: [get, list, watch]
- apiGroups: [dnstapir.se]
  resources: [tapiredges]
  verbs: [patch]
# Conditions, and what the admission policy copies into Pods.
- apiGroups: [dnstapir.se]
  resources: [tapiredges/status, tapirpolicies/status]
  verbs: [patch]
# Enrolment credentials are read; the node's keys and certificate are written ahead (<edge>-pending), kept (<edge>-identity) and rescued.
# Kubernetes cannot narrow this to some Secrets of a namespace where they are created, listed or watched.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
# Configuration of the sidecars is written; CA bundles and lists that a TapirEdge refers to are read.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Which Pods have the sidecars and where their status is served. Patch touches one annotation, so that the kubelet refreshes their volumes
# at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
# Pods that were created before their edge was rendered are replaced one by one, within their disruption budgets.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# What happened, for people.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
