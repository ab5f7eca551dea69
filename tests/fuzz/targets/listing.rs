#![no_main]
studbook_fuzz::reader!("listing");
