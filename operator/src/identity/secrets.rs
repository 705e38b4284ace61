//! Reads and writes of the three Secrets. Every write names the version of what it replaces or removes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Client, ResourceExt as _};

use super::material::{CREDENTIALS_ANNOTATION, Data, IDENTITY_FINALIZER, NODE_ANNOTATION, data_key};
use crate::names;

/// The Secrets of one edge.
#[derive(Clone, Debug)]
pub struct Secrets {
    api: Api<Secret>,
    edge: String,
}

/// The Secrets as they are now.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub identity: Option<Secret>,
    pub pending: Option<Secret>,
    pub rescue: Option<Secret>,
}

/// Which node a Secret is for, and which credentials it came from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub node: String,
    pub credentials: Option<String>,
    /// Other annotations, which say nothing of which node it is.
    pub remarks: BTreeMap<String, String>,
}

impl Secrets {
    /// The Secrets of an edge.
    #[must_use]
    pub fn new(client: &Client, namespace: &str, edge: &str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), edge: edge.to_owned() }
    }

    /// Reads all three, past every cache.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn read(&self) -> Result<Found, kube::Error> {
        Ok(Found {
            identity: self.api.get_opt(&names::identity(&self.edge)).await?,
            pending: self.api.get_opt(&names::pending(&self.edge)).await?,
            rescue: self.api.get_opt(&names::rescue(&self.edge)).await?,
        })
    }

    /// Whether a Secret carries the labels of what was made for this edge.
    #[must_use]
    pub fn made(&self, secret: &Secret) -> bool {
        let labels = secret.labels();
        let is = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
        is(names::LABEL_MANAGED_BY, names::FIELD_MANAGER) && is(names::LABEL_EDGE, &self.edge)
    }

    /// Creates `<edge>-pending`.
    pub(super) async fn create_pending(&self, data: Data, origin: &Origin) -> Result<(), kube::Error> {
        self.create(self.secret(names::pending(&self.edge), "Opaque", data, origin)).await.map(drop)
    }

    /// Creates `<edge>-identity` whole and reads it back.
    pub(super) async fn create_identity(&self, data: Data, origin: &Origin) -> Result<Option<Secret>, kube::Error> {
        let mut secret = self.secret(names::identity(&self.edge), "kubernetes.io/tls", data, origin);
        secret.metadata.finalizers = Some(vec![IDENTITY_FINALIZER.to_owned()]);
        self.create(secret).await?;
        self.api.get_opt(&names::identity(&self.edge)).await
    }

    /// Changes an identity in one write: refused if anybody wrote since it was read.
    pub(super) async fn change_identity(
        &self,
        identity: &Secret,
        data: Data,
        remarks: BTreeMap<String, String>,
    ) -> Result<(), kube::Error> {
        let mut changed = identity.clone();
        changed.data = Some(data);
        changed.annotations_mut().extend(remarks);
        self.replace(&changed).await
    }

    /// Puts another node's identity in the place of one that has been put aside.
    pub(super) async fn replace_identity(&self, identity: &Secret, data: Data, origin: &Origin) -> Result<(), kube::Error> {
        let mut new = self.secret(names::identity(&self.edge), "kubernetes.io/tls", data, origin);
        new.metadata.finalizers.clone_from(&identity.metadata.finalizers);
        new.metadata.resource_version.clone_from(&identity.metadata.resource_version);
        new.metadata.uid.clone_from(&identity.metadata.uid);
        self.replace(&new).await
    }

    /// Copies the identity of a node that Core removed to `<edge>-identity-retired-…`. A copy that is there already is left as it is.
    pub(super) async fn archive(&self, identity: &Secret) -> Result<(), kube::Error> {
        let thumbprint = |secret: &Secret| data_key(secret).map(|key| key.thumbprint()).ok();
        let own = thumbprint(identity);
        let name = names::retired(&self.edge, own.as_deref().unwrap_or_default());
        match self.create(self.copy(identity, name.clone())).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let there = self.api.get_opt(&name).await?;
                if there.as_ref().and_then(thumbprint) == own { Ok(()) } else { Err(kube::Error::Api(status)) }
            }
            other => other.map(drop),
        }
    }

    /// Copies a deleted identity to `<edge>-identity-rescue`, over an older copy if there is one.
    pub(super) async fn copy_to_rescue(&self, identity: &Secret, older: Option<&Secret>) -> Result<(), kube::Error> {
        let mut copy = self.copy(identity, names::rescue(&self.edge));
        let Some(older) = older else { return self.create(copy).await.map(drop) };
        copy.metadata.resource_version.clone_from(&older.metadata.resource_version);
        self.api.replace(&names::rescue(&self.edge), &PostParams::default(), &copy).await.map(drop)
    }

    /// Creates `<edge>-identity` from its copy.
    pub(super) async fn restore(&self, rescue: &Secret) -> Result<(), kube::Error> {
        let mut identity = self.copy(rescue, names::identity(&self.edge));
        identity.metadata.finalizers = Some(vec![IDENTITY_FINALIZER.to_owned()]);
        self.create(identity).await.map(drop)
    }

    /// Puts our finalizer on.
    pub(super) async fn protect(&self, identity: &Secret) -> Result<(), kube::Error> {
        let mut changed = identity.clone();
        changed.finalizers_mut().push(IDENTITY_FINALIZER.to_owned());
        self.replace(&changed).await
    }

    /// Takes our finalizer off.
    ///
    /// # Errors
    /// When the API server refuses, for instance because the Secret changed meanwhile.
    pub async fn release(&self, identity: &Secret) -> Result<(), kube::Error> {
        let mut changed = identity.clone();
        changed.finalizers_mut().retain(|finalizer| finalizer != IDENTITY_FINALIZER);
        self.replace(&changed).await
    }

    /// Removes exactly the object that was read.
    ///
    /// # Errors
    /// When the API server refuses, for instance because the Secret changed meanwhile.
    pub async fn remove(&self, secret: &Secret) -> Result<(), kube::Error> {
        let preconditions = Preconditions { resource_version: secret.resource_version(), uid: secret.uid() };
        self.api.delete(&secret.name_any(), &DeleteParams::default().preconditions(preconditions)).await.map(drop)
    }

    async fn create(&self, secret: Secret) -> Result<Secret, kube::Error> {
        self.api
            .create(&PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() }, &secret)
            .await
    }

    /// A PUT with the resourceVersion that was read: refused if anybody wrote in between.
    async fn replace(&self, secret: &Secret) -> Result<(), kube::Error> {
        self.api.replace(&secret.name_any(), &PostParams::default(), secret).await.map(drop)
    }

    fn secret(&self, name: String, type_: &str, data: Data, origin: &Origin) -> Secret {
        let mut annotations = origin.remarks.clone();
        annotations.insert(NODE_ANNOTATION.to_owned(), origin.node.clone());
        if let Some(fingerprint) = &origin.credentials {
            annotations.insert(CREDENTIALS_ANNOTATION.to_owned(), fingerprint.clone());
        }
        Secret {
            metadata: ObjectMeta {
                name: Some(name),
                labels: Some(names::labels(&self.edge)),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            type_: Some(type_.to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    /// Same content, labels and annotations under another name; nothing that ties it to the old object.
    fn copy(&self, secret: &Secret, name: String) -> Secret {
        let mut labels = secret.labels().clone();
        labels.extend(names::labels(&self.edge));
        Secret {
            metadata: ObjectMeta {
                name: Some(name),
                labels: Some(labels),
                annotations: secret.metadata.annotations.clone(),
                ..ObjectMeta::default()
            },
            type_: secret.type_.clone(),
            data: secret.data.clone(),
            ..Secret::default()
        }
    }
}

/// Whether a namespace is being deleted. Without the right to look it counts as staying.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn namespace_terminating(client: &Client, namespace: &str) -> Result<bool, kube::Error> {
    match Api::<Namespace>::all(client.clone()).get_metadata_opt(namespace).await {
        Ok(found) => Ok(found.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some())),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
        Err(error) => Err(error),
    }
}

/// The API server refused to create something because the namespace is being deleted.
#[must_use]
pub fn refused_as_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}
