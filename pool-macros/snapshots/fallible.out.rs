#[allow(clippy::ptr_arg)]
fn load(path: &Path) -> anyhow::Result<Doc> {
    Doc::read(path)
}
/// The worker task `load`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
enum load {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl ::pool::__private::Task for load {
        type Item<'item> = &'item Path;
        type Output = <anyhow::Result<Doc> as ::pool::__private::Fallible>::Value;
        type Failure = ::pool::__private::ReturnedError;
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
                0 + ::pool::__private::Probe::<&'item Path>::plain_len(codec, item)?,
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
            (&&&&&::pool::__private::Reference::<'item, Path>::ASKED)
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
            let part0 = (&&&&&::pool::__private::Reference::<'_, Path>::ASKED)
                .decode(codec, &mut rest)?;
            ::pool::__private::all_read(rest)?;
            ::core::result::Result::Ok(
                then(<_ as ::core::borrow::Borrow<Path>>::borrow(&part0)),
            )
        }
        #[inline]
        fn call(
            _: ::pool::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            ::pool::__private::Fallible::or_failed(
                load(item),
                |error| ::pool::__private::ReturnedError::new(
                    ::pool::__private::displayed(::core::format_args!("{}", error)),
                    ::pool::__private::sources!(& error),
                ),
            )
        }
    }
    impl ::pool::__private::HasArg for load {
        type Arg = ::pool::__private::NoArg;
    }
    impl ::pool::__private::Registered for load {
        fn entry() -> ::core::option::Option<&'static ::pool::__private::Entry> {
            #[::pool::__private::linkme::distributed_slice(
                ::pool::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = ::pool::__private::linkme)]
            static ENTRY: ::pool::__private::Entry = ::pool::__private::Entry::task::<
                load,
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
    impl<__Given> ::pool::__private::BorrowsFrom<__Given> for load {}
    impl<__Given> ::pool::__private::RunsOn<__Given> for load {}
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>(_: &'item Path) {
            use ::pool::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            ::pool::__private::borrowed_argument::<
                &'item Path,
                _,
            >((&&&&&::pool::__private::Reference::<'item, Path>::ASKED).answer());
        }
    }
    ::pool::__private::task_calls!([] load;);
};
