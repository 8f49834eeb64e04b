#[allow(clippy::ptr_arg)]
fn scale(factor: &f32, rows: &mut [f32], id: usize) -> usize {
    rows.iter_mut().for_each(|x| *x *= factor);
    id
}
/// The worker task `scale`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum scale {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::Task for scale {
        type Item<'item> = ::pool::__private::ChunkMut<'item, f32>;
        type Output = usize;
        type Failure = ::core::convert::Infallible;
        type State = ();
        type Shared = f32;
        type Init = ::pool::__private::ByDefault;
        type Exit = ::pool::__private::NoExit;
        const DEFAULT_STATE: ::core::option::Option<fn() -> Self::State> = {
            use ::pool::__private::ProbeFallback as _;
            ::pool::__private::Probe::<Self::State>::DEFAULT
        };
        const DEBUG_ITEM: ::core::option::Option<
            fn(&Self::Item<'_>) -> ::std::string::String,
        > = ::core::option::Option::None;
        const PAIR: ::core::option::Option<::pool::__private::Pair<Self>> = {
            use ::pool::__private::PairFallback as _;
            ::pool::__private::PairProbe::<Self::Item<'static>, Self::Output>::PAIR
        };
        #[inline]
        fn plain_len<'item>(
            codec: ::pool::__private::Codec,
            item: &Self::Item<'item>,
        ) -> ::core::option::Option<::core::primitive::usize> {
            use ::pool::__private::ElementsFallback as _;
            let _ = codec;
            ::pool::__private::Elements::<f32>::plain_len(item)
        }
        #[inline]
        fn encode<'item>(
            codec: ::pool::__private::Codec,
            item: &Self::Item<'item>,
            out: &mut impl ::pool::__private::ItemWriter,
        ) -> ::core::result::Result<(), ::std::string::String> {
            use ::pool::__private::ElementsFallback as _;
            let _ = codec;
            ::pool::__private::Elements::<f32>::encode(item, out)
        }
        #[inline]
        fn decode<__Returned>(
            codec: ::pool::__private::Codec,
            bytes: &[u8],
            then: impl ::core::ops::FnOnce(Self::Item<'_>) -> __Returned,
        ) -> ::core::result::Result<__Returned, ::std::string::String> {
            use ::pool::__private::ElementsFallback as _;
            let _ = codec;
            let chunk = ::pool::__private::Elements::<f32>::decode(bytes)?;
            ::core::result::Result::Ok(then(chunk))
        }
        #[inline]
        fn call(
            cx: ::pool::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            use ::pool::__private::ElementsFallback as _;
            ::core::result::Result::Ok(
                scale(
                    cx.shared,
                    ::pool::__private::Elements::<f32>::lend(&mut { item }),
                    <usize as ::core::convert::From<
                        ::pool::__private::WorkerId,
                    >>::from(cx.worker_id),
                ),
            )
        }
    }
    impl ::pool::__private::HasArg for scale {
        type Arg = ::pool::__private::NoArg;
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
                {
                    use ::pool::__private::ProbeFallback as _;
                    ::pool::__private::Probe::<f32>::DECODE_SHARED
                },
            );
            ::core::option::Option::Some(&ENTRY)
        }
    }
    impl<
        __Given: ::pool::__private::Lends<f32, scale>,
    > ::pool::__private::BorrowsFrom<__Given> for scale {}
    impl<
        __Given: ::pool::__private::Lends<f32, scale>,
    > ::pool::__private::RunsOn<__Given> for scale {}
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>() {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            ::pool::__private::element::<f32>();
        }
    }
    ::pool::__private::chunk_calls!(slices_mut[] scale; f32);
};
