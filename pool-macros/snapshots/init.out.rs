#[allow(clippy::ptr_arg)]
fn load_model(path: &PathBuf) -> io::Result<Model> {
    Model::load(path)
}
/// The worker init `load_model`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum load_model {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::WorkerInit for load_model {
        type State = <io::Result<Model> as ::pool::__private::Fallible>::Value;
        type Shared = PathBuf;
        fn call(
            cx: ::pool::__private::InitContext<'_, Self>,
        ) -> ::core::result::Result<Self::State, ::pool::__private::ReturnedError> {
            ::pool::__private::Fallible::or_failed(
                load_model(cx.shared),
                |error| ::pool::__private::ReturnedError::new(
                    ::pool::__private::displayed(::core::format_args!("{}", error)),
                    ::pool::__private::sources!(& error),
                ),
            )
        }
    }
    impl ::pool::__private::InitOf<
        <io::Result<Model> as ::pool::__private::Fallible>::Value,
    > for load_model {}
    impl ::pool::__private::HasArg for load_model {
        type Arg = ::pool::__private::NoArg;
    }
    impl ::pool::__private::Registered for load_model {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::init::<
                load_model,
            >(
                ::pool::__private::Package {
                    name: ::core::option_env!("CARGO_PKG_NAME"),
                    version: ::core::option_env!("CARGO_PKG_VERSION"),
                },
                ::core::option::Option::None,
                {
                    use ::pool::__private::ProbeFallback as _;
                    ::pool::__private::Probe::<PathBuf>::DECODE_SHARED
                },
            );
            ::core::option::Option::Some(&ENTRY)
        }
    }
    impl<
        __Given: ::pool::__private::Lends<PathBuf, load_model>,
    > ::pool::__private::BorrowsFrom<__Given> for load_model {}
    impl<
        __Given: ::pool::__private::Lends<PathBuf, load_model>,
    > ::pool::__private::RunsOn<__Given> for load_model {}
};
