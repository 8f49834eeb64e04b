#[allow(clippy::ptr_arg)]
pub(crate) fn words<'a>(
    text: &'a str,
    (from, to): (usize, usize),
    skip: Cow<'_, [&str]>,
) -> usize {
    text[from..to].split(' ').filter(|word| !skip.contains(word)).count()
}
/// The worker task `words`, as a type.
#[allow(non_camel_case_types, clippy::empty_enums)]
pub(crate) enum words {}
#[allow(deprecated, non_camel_case_types)]
const _: () = {
    impl parallel::__private::Task for words {
        type Item<'item> = (&'item str, (usize, usize), Cow<'item, [&'item str]>);
        type Output = usize;
        type Failure = ::core::convert::Infallible;
        type State = ();
        type Shared = parallel::__private::NoShared;
        type Init = parallel::__private::ByDefault;
        type Exit = parallel::__private::NoExit;
        const DEFAULT_STATE: ::core::option::Option<fn() -> Self::State> = {
            use parallel::__private::ProbeFallback as _;
            parallel::__private::Probe::<Self::State>::DEFAULT
        };
        const DEBUG_ITEM: ::core::option::Option<
            fn(&Self::Item<'_>) -> ::std::string::String,
        > = {
            use parallel::__private::ProbeFallback as _;
            if parallel::__private::Probe::<Self::Item<'static>>::DEBUG.is_some() {
                ::core::option::Option::Some(|item| parallel::__private::Probe::<
                    Self::Item<'_>,
                >::DEBUG
                    .unwrap()(item))
            } else {
                ::core::option::Option::None
            }
        };
        const PAIR: ::core::option::Option<parallel::__private::Pair<Self>> = {
            use parallel::__private::PairFallback as _;
            parallel::__private::PairProbe::<Self::Item<'static>, Self::Output>::PAIR
        };
        #[inline]
        fn plain_len<'item>(
            codec: parallel::__private::Codec,
            item: &Self::Item<'item>,
        ) -> ::core::option::Option<::core::primitive::usize> {
            ::core::option::Option::Some(
                0 + parallel::__private::Probe::<&'item str>::plain_len(codec, &item.0)?
                    + parallel::__private::Probe::<
                        (usize, usize),
                    >::plain_len(codec, &item.1)?
                    + parallel::__private::Probe::<
                        Cow<'item, [&'item str]>,
                    >::plain_len(codec, &item.2)?,
            )
        }
        #[inline]
        fn encode<'item>(
            codec: parallel::__private::Codec,
            item: &Self::Item<'item>,
            out: &mut impl parallel::__private::ItemWriter,
        ) -> ::core::result::Result<(), ::std::string::String> {
            use parallel::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            (&&&&&parallel::__private::Reference::<'item, str>::ASKED)
                .encode(codec, &item.0, out)?;
            parallel::__private::Probe::<(usize, usize)>::encode(codec, &item.1, out)?;
            parallel::__private::Probe::<
                Cow<'item, [&'item str]>,
            >::encode(codec, &item.2, out)?;
            ::core::result::Result::Ok(())
        }
        #[inline]
        fn decode<__Returned>(
            codec: parallel::__private::Codec,
            bytes: &[u8],
            then: impl ::core::ops::FnOnce(Self::Item<'_>) -> __Returned,
        ) -> ::core::result::Result<__Returned, ::std::string::String> {
            use parallel::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            let mut rest = bytes;
            let part0 = (&&&&&parallel::__private::Reference::<'_, str>::ASKED)
                .decode(codec, &mut rest)?;
            let part1 = parallel::__private::Probe::<
                (usize, usize),
            >::decode(codec, &mut rest)?;
            let part2 = parallel::__private::Probe::<
                Cow<'_, [&'_ str]>,
            >::decode(codec, &mut rest)?;
            parallel::__private::all_read(rest)?;
            ::core::result::Result::Ok(
                then((<_ as ::core::borrow::Borrow<str>>::borrow(&part0), part1, part2)),
            )
        }
        #[inline]
        fn call(
            _: parallel::__private::TaskContext<'_, Self>,
            item: Self::Item<'_>,
        ) -> ::core::result::Result<Self::Output, Self::Failure> {
            ::core::result::Result::Ok(words(item.0, item.1, item.2))
        }
    }
    impl parallel::__private::HasArg for words {
        type Arg = parallel::__private::NoArg;
    }
    impl parallel::__private::Registered for words {
        fn entry() -> ::core::option::Option<&'static parallel::__private::Entry> {
            #[parallel::__private::linkme::distributed_slice(
                parallel::__private::POOL_REGISTRY_0_1
            )]
            #[linkme(crate = parallel::__private::linkme)]
            static ENTRY: parallel::__private::Entry = parallel::__private::Entry::task::<
                words,
            >(
                parallel::__private::Package {
                    name: ::core::option_env!("CARGO_PKG_NAME"),
                    version: ::core::option_env!("CARGO_PKG_VERSION"),
                },
                ::core::option::Option::Some(|| "count"),
                ::core::option::Option::None,
            );
            ::core::option::Option::Some(&ENTRY)
        }
    }
    impl<__Given> parallel::__private::BorrowsFrom<__Given> for words {}
    impl<__Given> parallel::__private::RunsOn<__Given> for words {}
    {
        #[deny(elided_lifetimes_in_paths)]
        #[allow(clippy::too_many_arguments)]
        fn arguments<'item>(
            _: &'item str,
            _: (usize, usize),
            _: Cow<'item, [&'item str]>,
        ) {
            use parallel::__private::{
                LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _,
                NotLent as _, ProbeFallback as _,
            };
            parallel::__private::borrowed_argument::<
                &'item str,
                _,
            >((&&&&&parallel::__private::Reference::<'item, str>::ASKED).answer());
            parallel::__private::argument::<(usize, usize)>();
            parallel::__private::argument::<Cow<'item, [&'item str]>>();
        }
    }
    parallel::__private::task_calls!([] words;);
};
