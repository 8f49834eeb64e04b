#[allow(clippy::ptr_arg)]
async fn predict(model: Model, text: &mut String) -> f32 {
    model.predict(text)
}
/// The worker task `predict`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum predict {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::Task for predict {
        type Item<'item> = [(); {
            ::core::compile_error! {
                "unknown option, expected one of: `for`, `fallible`, `init`, `exit`, `name`, `crate`"
            }
            ::core::compile_error! {
                "worker task `predict` must be a plain `fn`"
            }
            ::core::compile_error! {
                "`#[state]` is a mutable reference: `#[state] s: &mut T`"
            }
            ::core::compile_error! {
                "an argument cannot be borrowed mutably: a worker decodes it in place, where `&str`, `&[u8]` and any `T: Deserialize<'a>` may borrow\n= help: take it by value, or mark what is injected: `#[shared] s: &T`, `#[state] s: &mut T`"
            }
        }];
        type Output = Self::Item<'static>;
        type Failure = ::core::convert::Infallible;
        type State = ();
        type Shared = ::pool::__private::NoShared;
        type Init = ::pool::__private::ByDefault;
        type Exit = ::pool::__private::NoExit;
        const DEFAULT_STATE: ::core::option::Option<fn() -> Self::State> = ::core::option::Option::None;
        const DEBUG_ITEM: ::core::option::Option<
            fn(&Self::Item<'_>) -> ::std::string::String,
        > = ::core::option::Option::None;
        const PAIR: ::core::option::Option<::pool::__private::Pair<Self>> = ::core::option::Option::None;
        fn plain_len(
            _: ::pool::__private::Codec,
            _: &Self::Item<'_>,
        ) -> ::core::option::Option<::core::primitive::usize> {
            loop {}
        }
        fn encode(
            _: ::pool::__private::Codec,
            _: &Self::Item<'_>,
            _: &mut impl ::pool::__private::ItemWriter,
        ) -> ::core::result::Result<(), ::std::string::String> {
            loop {}
        }
        fn decode<__Returned>(
            _: ::pool::__private::Codec,
            _: &[u8],
            _: impl ::core::ops::FnOnce(Self::Item<'_>) -> __Returned,
        ) -> ::core::result::Result<__Returned, ::std::string::String> {
            loop {}
        }
        fn call(
            _: ::pool::__private::TaskContext<'_, Self>,
            _: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            loop {}
        }
    }
    impl ::pool::__private::HasArg for predict {
        type Arg = ::pool::__private::NoArg;
    }
    impl ::pool::__private::Registered for predict {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            ::core::option::Option::None
        }
    }
    impl<__Given> ::pool::__private::BorrowsFrom<__Given> for predict {}
    impl<__Given> ::pool::__private::RunsOn<__Given> for predict {}
    ::pool::__private::task_calls!([] predict;);
};
