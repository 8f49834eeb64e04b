#[allow(clippy::ptr_arg)]
/// Rates a text.
fn predict(id: usize, path: &PathBuf, model: &mut Model, text: &str) -> f32 {
    model.predict(text)
}
/// Rates a text.
///
/// The worker task `predict`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum predict {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::Task for predict {
        type Item<'item> = &'item str;
        type Output = f32;
        type Failure = ::core::convert::Infallible;
        type State = Model;
        type Shared = PathBuf;
        type Init = ::pool::__private::Named<load_model>;
        type Exit = ::pool::__private::Named<count>;
        const DEFAULT_STATE: ::core::option::Option<fn() -> Self::State> = {
            use ::pool::__private::ProbeFallback as _;
            ::pool::__private::Probe::<Self::State>::DEFAULT
        };
        const DEBUG_ITEM: ::core::option::Option<
            fn(&Self::Item<'_>) -> ::std::string::String,
        > = {
            use ::pool::__private::ProbeFallback as _;
            if ::pool::__private::Probe::<Self::Item<'static>>::DEBUG.is_some() {
                ::core::option::Option::Some(|item| ::pool::__private::Probe::<
                    Self::Item<'_>,
                >::DEBUG
                    .unwrap()(item))
            } else {
                ::core::option::Option::None
            }
        };
        const PAIR: ::core::option::Option<::pool::__private::Pair<Self>> = {
            use ::pool::__private::PairFallback as _;
            ::pool::__private::PairProbe::<Self::Item<'static>, Self::Output>::PAIR
        };
        #[inline]
        fn plain_len<'item>(
            codec: ::pool::__private::Codec,
            item: &Self::Item<'item>,
        ) -> ::core::option::Option<::core::primitive::usize> {
            ::core::option::Option::Some(
                0 + ::pool::__private::Probe::<&'item str>::plain_len(codec, item)?,
            )
        }
        #[inline]
        fn encode<'item>(
            codec: ::pool::__private::Codec,
            item: &Self::Item<'item>,
            out: &mut impl ::pool::__private::ItemWriter,
        ) -> ::core::result::Result<(), ::std::string::String> {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            (&&&&&::pool::__private::Reference::<'item, str>::ASKED)
                .encode(codec, item, out)?;
            ::core::result::Result::Ok(())
        }
        #[inline]
        fn decode<__Returned>(
            codec: ::pool::__private::Codec,
            bytes: &[u8],
            then: impl ::core::ops::FnOnce(Self::Item<'_>) -> __Returned,
        ) -> ::core::result::Result<__Returned, ::std::string::String> {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            let mut rest = bytes;
            let part0 = (&&&&&::pool::__private::Reference::<'_, str>::ASKED)
                .decode(codec, &mut rest)?;
            ::pool::__private::all_read(rest)?;
            ::core::result::Result::Ok(
                then(<_ as ::core::borrow::Borrow<str>>::borrow(&part0)),
            )
        }
        #[inline]
        fn call(
            cx: ::pool::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            ::core::result::Result::Ok(
                predict(
                    <usize as ::core::convert::From<
                        ::pool::__private::WorkerId,
                    >>::from(cx.worker_id),
                    cx.shared,
                    cx.state,
                    item,
                ),
            )
        }
    }
    impl ::pool::__private::HasArg for predict {
        type Arg = ::pool::__private::NoArg;
    }
    impl ::pool::__private::Registered for predict {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::task::<
                predict,
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
        __Given: ::pool::__private::Lends<PathBuf, predict>,
    > ::pool::__private::BorrowsFrom<__Given> for predict {}
    impl<
        __Given: ::pool::__private::Lends<PathBuf, predict>,
    > ::pool::__private::RunsOn<__Given> for predict {}
    ::pool::__private::init_of::<load_model, Model>();
    ::pool::__private::exit_of::<count, Model>();
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>(_: &'item str) {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            ::pool::__private::borrowed_argument::<
                &'item str,
                _,
            >((&&&&&::pool::__private::Reference::<'item, str>::ASKED).answer());
        }
    }
    ::pool::__private::task_calls!([] predict;);
};
