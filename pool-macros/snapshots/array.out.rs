#[allow(clippy::ptr_arg)]
fn halve(rows: ArrayView2<'_, f32>) -> Array2<f32> {
    rows.mapv(|x| x / 2.0)
}
/// The worker task `halve`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum halve {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::Task for halve {
        type Item<'item> = <ArrayView2<
            'item,
            f32,
        > as ::pool::__private::ArrayParam>::Item<'item>;
        type Output = Array2<f32>;
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
            let _ = codec;
            ::pool::__private::ChunkItem::plain_len(item)
        }
        #[inline]
        fn encode<'item>(
            codec: ::pool::__private::Codec,
            item: &Self::Item<'item>,
            out: &mut impl ::pool::__private::ItemWriter,
        ) -> ::core::result::Result<(), ::std::string::String> {
            let _ = codec;
            ::pool::__private::ChunkItem::encode(item, out)
        }
        #[inline]
        fn decode<__Returned>(
            codec: ::pool::__private::Codec,
            bytes: &[u8],
            then: impl ::core::ops::FnOnce(Self::Item<'_>) -> __Returned,
        ) -> ::core::result::Result<__Returned, ::std::string::String> {
            let _ = codec;
            let chunk = ::pool::__private::ChunkItem::decode(bytes)?;
            ::core::result::Result::Ok(then(chunk))
        }
        #[inline]
        fn call(
            _: ::pool::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            ::core::result::Result::Ok(
                halve(::pool::__private::Lend::lend(&mut { item })),
            )
        }
    }
    impl ::pool::__private::HasArg for halve {
        type Arg = ::pool::__private::NoArg;
    }
    impl ::pool::__private::Registered for halve {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::task::<
                halve,
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
    impl<__Given> ::pool::__private::BorrowsFrom<__Given> for halve {}
    impl<__Given> ::pool::__private::RunsOn<__Given> for halve {}
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>() {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
        }
    }
    ::pool::__private::array_calls!(arrays[] halve;);
};
