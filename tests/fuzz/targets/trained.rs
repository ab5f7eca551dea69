#![no_main]
studbook_fuzz::reader!("trained");
