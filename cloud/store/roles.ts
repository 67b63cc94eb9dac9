/** What a service token may be for. People: each of the first four; `gateway`: a machine that speaks for its sites and reads what is theirs. */
export const SERVICE_ROLES = ['viewer', 'operator', 'release-manager', 'admin', 'gateway'] as const
export type ServiceRole = (typeof SERVICE_ROLES)[number]

/** Roles of people, the one that may most first: whom an identity provider makes several of is the first. */
export const ROLES_OF_PEOPLE = ['admin', 'release-manager', 'operator', 'viewer'] as const
export type RoleOfPeople = (typeof ROLES_OF_PEOPLE)[number]
