/** Which project a view is about: the server's, or one of those that its runs belong to. */

import type { JSX } from 'preact';
import { get } from '../api/client.ts';
import type { RunList, ServerInfo } from '../api/types.ts';
import { fileName } from '../data/units.ts';
import { useResource } from '../hooks.ts';
import { replaceQuery, type Route } from '../route.ts';

export interface Projects {
  /** Whether it is known which there are. */
  isKnown: boolean;
  all: string[];
  /** The one that is chosen. */
  chosen: string | null;
}

const RECENT = 200;

export function useProjects(server: ServerInfo | null, route: Route): Projects {
  const { data, isLoading } = useResource<RunList>(server && !server.projects ? 'projects' : null, (signal) => get('api/v1/runs', { limit: RECENT }, signal));
  const found = [server?.project_path, ...(server?.projects ?? []), ...(data?.runs ?? []).map((run) => run.project_path)];
  const all = [...new Set(found.filter((path): path is string => !!path))];
  return { isKnown: !!server && !isLoading, all, chosen: route.query.get('project') ?? server?.project_path ?? all[0] ?? null };
}

export function ProjectChoice({ projects, route }: { projects: Projects; route: Route }): JSX.Element | null {
  if (projects.all.length < 2) return null;
  return (
    <label class="project-choice">
      <span>Project</span>
      <select value={projects.chosen ?? ''} onChange={(event) => replaceQuery(route, { project: event.currentTarget.value })}>
        {projects.all.map((path) => <option key={path} value={path} title={path}>{label(path, projects.all)}</option>)}
      </select>
    </label>
  );
}

/** The folder's name; with the folder around it where another project has the same. */
function label(path: string, all: string[]): string {
  const name = fileName(path);
  const isAlone = all.filter((other) => fileName(other) === name).length === 1;
  return isAlone ? name : path.split(/[\\/]/).filter(Boolean).slice(-2).join('/');
}
