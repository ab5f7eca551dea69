#![no_main]
studbook_fuzz::reader!("plan");
