//! The `committee` program: parse arguments, call the library once, write what it returns.

fn main() -> std::process::ExitCode {
    committee::cli::main()
}
