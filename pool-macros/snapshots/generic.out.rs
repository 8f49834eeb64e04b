#[allow(clippy::ptr_arg)]
/// Adds it up.
pub fn total<'a, T: Sum<T>, const N: usize>(
    before: &mut Vec<T>,
    rows: &'a [[T; N]],
    by: Grid<T, N>,
) -> T {
    rows.iter().flatten().chain(&*before).copied().sum()
}
/// Adds it up.
///
/// The worker task `total`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
pub enum total<T: ?::core::marker::Sized + 'static, const N: usize> {
    #[doc(hidden)]
    #[allow(dead_code)]
    __Never(::core::convert::Infallible, ::core::marker::PhantomData<T>),
}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::Task for total<f32, 2> {
        type Item<'item> = (&'item [[f32; 2]], Grid<f32, 2>);
        type Output = f32;
        type Failure = ::core::convert::Infallible;
        type State = Vec<f32>;
        type Shared = ::pool::__private::NoShared;
        type Init = ::pool::__private::Named<empty<f32>>;
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
                0
                    + ::pool::__private::Probe::<
                        &'item [[f32; 2]],
                    >::plain_len(codec, &item.0)?
                    + ::pool::__private::Probe::<
                        Grid<f32, 2>,
                    >::plain_len(codec, &item.1)?,
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
            (&&&&&::pool::__private::Reference::<'item, [[f32; 2]]>::ASKED)
                .encode(codec, &item.0, out)?;
            ::pool::__private::Probe::<Grid<f32, 2>>::encode(codec, &item.1, out)?;
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
            let part0 = (&&&&&::pool::__private::Reference::<'_, [[f32; 2]]>::ASKED)
                .decode(codec, &mut rest)?;
            let part1 = ::pool::__private::Probe::<
                Grid<f32, 2>,
            >::decode(codec, &mut rest)?;
            ::pool::__private::all_read(rest)?;
            ::core::result::Result::Ok(
                then((<_ as ::core::borrow::Borrow<[[f32; 2]]>>::borrow(&part0), part1)),
            )
        }
        #[inline]
        fn call(
            cx: ::pool::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            ::core::result::Result::Ok(total::<f32, 2>(cx.state, item.0, item.1))
        }
    }
    impl ::pool::__private::HasArg for total<f32, 2> {
        type Arg = ::pool::__private::NoArg;
    }
    impl ::pool::__private::Registered for total<f32, 2> {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::task::<
                total<f32, 2>,
            >(
                ::pool::__private::Package {
                    name: ::core::option_env!("CARGO_PKG_NAME"),
                    version: ::core::option_env!("CARGO_PKG_VERSION"),
                },
                ::core::option::Option::Some(|| {
                    static NAME: ::pool::__private::InstanceName = ::pool::__private::InstanceName::new();
                    NAME.of::<total<f32, 2>>()
                }),
                ::core::option::Option::None,
            );
            ::core::option::Option::Some(&ENTRY)
        }
    }
    impl<__Given> ::pool::__private::BorrowsFrom<__Given> for total<f32, 2> {}
    impl<__Given> ::pool::__private::RunsOn<__Given> for total<f32, 2> {}
    ::pool::__private::public::<empty<f32>>();
    ::pool::__private::init_of::<empty<f32>, Vec<f32>>();
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>(_: &'item [[f32; 2]], _: Grid<f32, 2>) {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            ::pool::__private::borrowed_argument::<
                &'item [[f32; 2]],
                _,
            >((&&&&&::pool::__private::Reference::<'item, [[f32; 2]]>::ASKED).answer());
            ::pool::__private::argument::<Grid<f32, 2>>();
        }
    }
    ::pool::__private::task_calls!([] total < f32, 2 >;);
    impl ::pool::__private::Task for total<Vec<u8>, 3> {
        type Item<'item> = (&'item [[Vec<u8>; 3]], Grid<Vec<u8>, 3>);
        type Output = Vec<u8>;
        type Failure = ::core::convert::Infallible;
        type State = Vec<Vec<u8>>;
        type Shared = ::pool::__private::NoShared;
        type Init = ::pool::__private::Named<empty<Vec<u8>>>;
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
                0
                    + ::pool::__private::Probe::<
                        &'item [[Vec<u8>; 3]],
                    >::plain_len(codec, &item.0)?
                    + ::pool::__private::Probe::<
                        Grid<Vec<u8>, 3>,
                    >::plain_len(codec, &item.1)?,
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
            (&&&&&::pool::__private::Reference::<'item, [[Vec<u8>; 3]]>::ASKED)
                .encode(codec, &item.0, out)?;
            ::pool::__private::Probe::<Grid<Vec<u8>, 3>>::encode(codec, &item.1, out)?;
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
            let part0 = (&&&&&::pool::__private::Reference::<'_, [[Vec<u8>; 3]]>::ASKED)
                .decode(codec, &mut rest)?;
            let part1 = ::pool::__private::Probe::<
                Grid<Vec<u8>, 3>,
            >::decode(codec, &mut rest)?;
            ::pool::__private::all_read(rest)?;
            ::core::result::Result::Ok(
                then((
                    <_ as ::core::borrow::Borrow<[[Vec<u8>; 3]]>>::borrow(&part0),
                    part1,
                )),
            )
        }
        #[inline]
        fn call(
            cx: ::pool::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            ::core::result::Result::Ok(total::<Vec<u8>, 3>(cx.state, item.0, item.1))
        }
    }
    impl ::pool::__private::HasArg for total<Vec<u8>, 3> {
        type Arg = ::pool::__private::NoArg;
    }
    impl ::pool::__private::Registered for total<Vec<u8>, 3> {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::task::<
                total<Vec<u8>, 3>,
            >(
                ::pool::__private::Package {
                    name: ::core::option_env!("CARGO_PKG_NAME"),
                    version: ::core::option_env!("CARGO_PKG_VERSION"),
                },
                ::core::option::Option::Some(|| {
                    static NAME: ::pool::__private::InstanceName = ::pool::__private::InstanceName::new();
                    NAME.of::<total<Vec<u8>, 3>>()
                }),
                ::core::option::Option::None,
            );
            ::core::option::Option::Some(&ENTRY)
        }
    }
    impl<__Given> ::pool::__private::BorrowsFrom<__Given> for total<Vec<u8>, 3> {}
    impl<__Given> ::pool::__private::RunsOn<__Given> for total<Vec<u8>, 3> {}
    ::pool::__private::public::<empty<Vec<u8>>>();
    ::pool::__private::init_of::<empty<Vec<u8>>, Vec<Vec<u8>>>();
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>(_: &'item [[Vec<u8>; 3]], _: Grid<Vec<u8>, 3>) {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            ::pool::__private::borrowed_argument::<
                &'item [[Vec<u8>; 3]],
                _,
            >(
                (&&&&&::pool::__private::Reference::<'item, [[Vec<u8>; 3]]>::ASKED)
                    .answer(),
            );
            ::pool::__private::argument::<Grid<Vec<u8>, 3>>();
        }
    }
    ::pool::__private::task_calls!([] total < Vec < u8 >, 3 >;);
};
