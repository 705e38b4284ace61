//! The sidecar containers.
//!
//! No probes: a failing probe makes the Pod NotReady and takes the resolver out of its Service. No ports: they would collide under
//! `hostNetwork`, and naming them serves nobody.

use tapir_wire::node::paths::{
    EDM_CONFIG_DIRECTORY, EDM_CONFIG_FILE, EDM_STATE_DIRECTORY, POP_CONFIG_DIRECTORY, POP_CONFIG_FILE, POP_STATE_DIRECTORY,
    RUN_DIRECTORY,
};

use super::volume;
use crate::api::Resources;
use crate::api::injection::{
    Capabilities, Compute, Container, Dropped, FieldReference, Form, PodField, PullPolicy, Quantities, RestartPolicy,
    SeccompProfile, SeccompType, SecurityContext, TerminationMessagePolicy, Variable, VariableSource, VolumeMount,
};

/// `nonroot` by convention of images without a distribution.
const USER: i64 = 65532;
/// Where the API server mounts a token unless something is mounted there already.
const TOKEN_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The quality-of-service class of a Pod, which its sidecars must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No requests, no limits.
    BestEffort,
    /// Requests below limits.
    Burstable,
    /// Requests equal to limits.
    Guaranteed,
}

/// The container `tapir-edm`.
#[must_use]
pub fn edm(image: &str, resources: &Resources, class: Class, form: Form) -> Container {
    let mounts = vec![
        mount(volume::RUN, RUN_DIRECTORY),
        read_only(volume::EDM_CONFIG, EDM_CONFIG_DIRECTORY),
        mount(volume::EDM_STATE, EDM_STATE_DIRECTORY),
        read_only(volume::NO_TOKEN, TOKEN_DIRECTORY),
    ];
    sidecar("tapir-edm", image, &format!("{EDM_CONFIG_DIRECTORY}/{EDM_CONFIG_FILE}"), mounts, compute(resources, class), form)
}

/// The container `tapir-pop`.
#[must_use]
pub fn pop(image: &str, resources: &Resources, class: Class, form: Form) -> Container {
    let mounts = vec![
        read_only(volume::POP_CONFIG, POP_CONFIG_DIRECTORY),
        mount(volume::POP_STATE, POP_STATE_DIRECTORY),
        read_only(volume::NO_TOKEN, TOKEN_DIRECTORY),
    ];
    sidecar("tapir-pop", image, &format!("{POP_CONFIG_DIRECTORY}/{POP_CONFIG_FILE}"), mounts, compute(resources, class), form)
}

/// The folder with the dnstap socket, for the resolver.
#[must_use]
pub fn resolver_mounts() -> Vec<VolumeMount> {
    vec![mount(volume::RUN, RUN_DIRECTORY)]
}

fn sidecar(
    name: &str,
    image: &str,
    config_file: &str,
    volume_mounts: Vec<VolumeMount>,
    resources: Option<Compute>,
    form: Form,
) -> Container {
    let worker = format!("/usr/bin/{name}");
    let command = ["/usr/bin/tapir-init", "--", &worker, "run", "--config-file", config_file];
    Container {
        name: name.to_owned(),
        image: image.to_owned(),
        image_pull_policy: PullPolicy::IfNotPresent,
        restart_policy: (form == Form::Native).then_some(RestartPolicy::Always),
        command: command.map(str::to_owned).into(),
        env: vec![variable("POD_NAME", PodField::Name), variable("POD_UID", PodField::Uid)],
        resources,
        volume_mounts,
        security_context: SecurityContext {
            allow_privilege_escalation: false,
            capabilities: Capabilities { drop: vec![Dropped::All] },
            read_only_root_filesystem: true,
            run_as_non_root: true,
            run_as_user: USER,
            run_as_group: USER,
            seccomp_profile: SeccompProfile { r#type: SeccompType::RuntimeDefault },
        },
        termination_message_policy: TerminationMessagePolicy::FallbackToLogsOnError,
    }
}

/// In a Guaranteed Pod both sides are equal: the memory that the sidecar may need, and the processor time that it asks for. Taking the
/// processor limit would set aside a whole core beside every resolver.
fn compute(resources: &Resources, class: Class) -> Option<Compute> {
    let quantities = |cpu: &str, memory: &str| Quantities { cpu: cpu.to_owned(), memory: memory.to_owned() };
    let Resources { requests, limits } = resources;
    match class {
        Class::BestEffort => None,
        Class::Burstable => Some(Compute {
            requests: quantities(&requests.cpu, &requests.memory),
            limits: quantities(&limits.cpu, &limits.memory),
        }),
        Class::Guaranteed => {
            let both = quantities(&requests.cpu, &limits.memory);
            Some(Compute { requests: both.clone(), limits: both })
        }
    }
}

fn variable(name: &str, field_path: PodField) -> Variable {
    Variable { name: name.to_owned(), value_from: VariableSource { field_ref: FieldReference { field_path } } }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: None }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}
