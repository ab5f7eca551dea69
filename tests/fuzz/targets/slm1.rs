#![no_main]
studbook_fuzz::reader!("slm1");
