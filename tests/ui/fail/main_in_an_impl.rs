struct Program;

impl Program {
    #[pool::main]
    fn main() {}
}

fn main() {
    Program::main();
}
