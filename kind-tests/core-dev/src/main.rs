//! `core-dev`: the dev Core and the commands that talk to it.

fn main() -> anyhow::Result<()> {
    tapir_core_dev::cli::run()
}
