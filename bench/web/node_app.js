/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * node_app.js express|fastify|select SOCKET ORIGINS [REALM] -- a tiny page whose CORS
 * middleware knows the origins of a file ("none": without it); select: asks PostgreSQL
 * about each request.
 */
'use strict';

const fs = require('fs');
const createRequire = require('module').createRequire;

const from = createRequire(process.cwd() + '/');	/* node_modules is where npm put it */
const [kind, path, file, realm] = process.argv.slice(2);
const common = { methods: ['GET', 'PUT', 'DELETE'], allowedHeaders: ['content-type', 'x-token'], maxAge: 600 };
const body = 'tiny\n';

function
listed()
{
	return file === 'none' ? null : fs.readFileSync(file, 'utf8').trim().split('\n');
}

function
ask_postgres()
{
	const { Pool } = from('pg');
	const pool = new Pool();	/* PGHOST and so on */

	return (origin, answer) => pool.query({ name: 'allowed',
	    text: 'SELECT 1 FROM cors.origins WHERE realm = $1 AND origin = $2 AND allow', values: [realm, origin] })
	    .then(result => answer(null, result.rowCount === 1 && origin), answer);
}

function
express(origin)
{
	const app = from('express')();

	app.disable('x-powered-by');
	if (origin)
		app.use(from('cors')({ ...common, origin }));
	app.get('/tiny.txt', (request, response) => response.type('text/plain').send(body));
	app.listen(path);
}

function
fastify(origin)
{
	const app = from('fastify')();

	if (origin)
		app.register(from('@fastify/cors'), { ...common, origin });
	app.get('/tiny.txt', (request, reply) => reply.type('text/plain').send(body));
	app.listen({ path });
}

process.umask(0);	/* nginx's worker is somebody else */
if (kind === 'fastify')
	fastify(listed());
else
	express(kind === 'select' ? ask_postgres() : listed());
