//! From a folder and into one.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tapir_wire::node::paths::POP_CONFIG_FILE;
use zeroize::Zeroizing;

use super::{ConvertError, Converted, FILES, Texts, convert};

/// Converts the files of a folder.
pub fn convert_folder(folder: &Path) -> Result<Converted, ConvertError> {
    let mut texts = Texts::default();
    for (file, text) in FILES.into_iter().zip(&mut texts) {
        *text = match fs::read_to_string(folder.join(file)) {
            Ok(read) => Some(Zeroizing::new(read)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(ConvertError::Read { file, source }),
        };
    }
    convert(&texts)
}

/// Writes `pop.yaml` and the keys beside it, which nobody else may read. Nothing that is there already is overwritten.
pub fn write_folder(converted: &Converted, folder: &Path) -> Result<(), ConvertError> {
    let text = converted.config.to_yaml()?;
    let keys = converted.keys.iter().map(|key| (key.name.as_str(), key.key.as_str(), 0o600));
    for (name, content, mode) in keys.chain([(POP_CONFIG_FILE, text.as_str(), 0o644)]) {
        let failed = |source| ConvertError::Write { file: name.to_owned(), source };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(folder.join(name)).map_err(failed)?;
        file.set_permissions(Permissions::from_mode(mode)).and_then(|()| file.write_all(content.as_bytes())).map_err(failed)?;
    }
    Ok(())
}
