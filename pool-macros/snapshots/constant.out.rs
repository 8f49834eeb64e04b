#[allow(clippy::ptr_arg)]
fn scale(config: &Config, id: usize, x: f64) -> f64 {
    config.factor * x
}
/// The worker task `scale`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum scale {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::Task for scale {
        type Item<'item> = f64;
        type Output = f64;
        type Failure = ::core::convert::Infallible;
        type State = ();
        type Shared = ::pool::__private::NoShared;
        type Init = ::pool::__private::ByDefault;
        type Exit = ::pool::__private::NoExit;
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
                0 + ::pool::__private::Probe::<f64>::plain_len(codec, item)?,
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
            ::pool::__private::Probe::<f64>::encode(codec, item, out)?;
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
            let part0 = ::pool::__private::Probe::<f64>::decode(codec, &mut rest)?;
            ::pool::__private::all_read(rest)?;
            ::core::result::Result::Ok(then(part0))
        }
        #[inline]
        fn call(
            cx: ::pool::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            ::core::result::Result::Ok(
                scale(
                    cx.arg,
                    <usize as ::core::convert::From<
                        ::pool::__private::WorkerId,
                    >>::from(cx.worker_id),
                    item,
                ),
            )
        }
    }
    impl ::pool::__private::HasArg for scale {
        type Arg = ::pool::__private::RefArg<Config>;
        fn encode_arg<'item>(
            codec: ::pool::__private::Codec,
            given: &<Self::Arg as ::pool::__private::Arg>::Given<'item>,
            out: &mut impl ::std::io::Write,
        ) -> ::core::result::Result<(), ::std::string::String> {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            (&&&&&::pool::__private::Reference::<'item, Config>::ASKED)
                .encode(codec, given, out)
        }
        fn decode_arg(
            codec: ::pool::__private::Codec,
            bytes: &[u8],
        ) -> ::core::result::Result<Self::Arg, ::std::string::String> {
            use ::pool::__private::{
                KeptAsVec as _, KeptByOwner as _, KeptByValue as _, NotKept as _,
                ProbeFallback as _,
            };
            (&&&&::pool::__private::Kept::<Config>::ASKED).decode(codec, bytes)
        }
    }
    {
        fn constant<'item>() {
            use ::pool::__private::{
                KeptAsVec as _, KeptByOwner as _, KeptByValue as _, NotKept as _,
                ProbeFallback as _,
            };
            ::pool::__private::borrowed_argument::<
                &'item Config,
                _,
            >((&&&&::pool::__private::Kept::<Config>::ASKED).answer());
        }
    }
    impl ::pool::__private::Registered for scale {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::task::<
                scale,
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
    impl<__Given> ::pool::__private::BorrowsFrom<__Given> for scale {}
    impl<
        __Given: ::pool::__private::GivesArgTo<scale>,
    > ::pool::__private::RunsOn<__Given> for scale {}
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>(_: f64) {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            ::pool::__private::argument::<f64>();
        }
    }
    ::pool::__private::task_calls!([] scale;);
};
