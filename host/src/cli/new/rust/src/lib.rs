//! A plugin of wasmpool. `wit/world.wit` says what it exports.

wit_bindgen::generate!();

struct Plugin;
export!(Plugin);

impl Guest for Plugin {
    fn greet(name: String) -> Result<String, String> {
        match name.trim() {
            "" => Err("nobody has no name".to_owned()),
            name => Ok(format!("Hello, {name}!")),
        }
    }
}
