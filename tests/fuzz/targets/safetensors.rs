#![no_main]
studbook_fuzz::reader!("safetensors");
