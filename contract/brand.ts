declare const brand: unique symbol

/** A primitive that is not interchangeable with its base type: values that are easy to mix carry one. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name }
