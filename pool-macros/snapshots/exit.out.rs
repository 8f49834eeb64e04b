#[allow(clippy::ptr_arg)]
fn count(model: &mut Model, id: WorkerId) -> (WorkerId, u64) {
    (id, model.take_seen())
}
/// The worker exit `count`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum count {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::WorkerExit for count {
        type State = Model;
        type Shared = ::pool::__private::NoShared;
        type Output = (WorkerId, u64);
        fn call(
            cx: ::pool::__private::ExitContext<'_, Self>,
        ) -> ::core::result::Result<Self::Output, ::pool::__private::ReturnedError> {
            ::core::result::Result::Ok(
                count(
                    &mut { cx.state },
                    <WorkerId as ::core::convert::From<
                        ::pool::__private::WorkerId,
                    >>::from(cx.worker_id),
                ),
            )
        }
    }
    impl ::pool::__private::ExitOf<Model> for count {}
    impl ::pool::__private::Registered for count {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::exit::<
                count,
            >(
                ::pool::__private::Package {
                    name: ::core::option_env!("CARGO_PKG_NAME"),
                    version: ::core::option_env!("CARGO_PKG_VERSION"),
                },
                ::core::option::Option::None,
                ::core::option::Option::None,
            );
            ::core::option::Option::Some(&ENTRY)
        }
    }
    impl<__Given> ::pool::__private::BorrowsFrom<__Given> for count {}
    impl<__Given> ::pool::__private::RunsOn<__Given> for count {}
};
