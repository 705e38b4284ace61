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
# The headless Service <edge>-peers of each edge, by which its sidecars find each other.
- apiGroups: [""]
  resources: [services]
  verbs: [get, create, patch, delete]
# Where the sidecars' status is served, and which Pods answer for their Services: read from here, so that Pods need not be.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# Which Pods have the sidecars (their metadata alone is watched); whole Pods are read while they are rolled or diagnosed. Patch is for
# annotations, so that the kubelet refreshes volumes at once, and for images of the sidecars; limits.yaml allows nothing else.
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


{{/* Only with rollout.prePull. */}}
{{- define "tapir-operator.pullRules" -}}
# A Pod that pulls the new image onto a node before the sidecar there is restarted with it, made, looked after and removed. limits.yaml allows
# no other Pod.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, create, delete]
{{- end -}}
